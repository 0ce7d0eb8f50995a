/** The version that the build put in; `dev` when run from the sources. */
declare const EDGEPROXY_VERSION: string | undefined;

export const VERSION: string = typeof EDGEPROXY_VERSION === "string" ? EDGEPROXY_VERSION : "dev";
