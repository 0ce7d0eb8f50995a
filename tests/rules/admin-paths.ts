/** The table of docs/admin-api.md: every path of the admin API with what it takes, as its OpenAPI description has it. */
import { ADMIN_PATHS } from "../../src/admin/app.ts";
import { openApi } from "../../src/admin/openapi.ts";

interface Operation {
  readonly summary: string;
  readonly parameters: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: {
    readonly content: { readonly "application/json": { readonly schema: { readonly properties?: object } } };
  };
}

export function adminPathTable(): string {
  const paths = openApi(ADMIN_PATHS, "").paths as Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  const rows = ADMIN_PATHS.map(({ method, path }) => {
    const operation = paths[path.replaceAll(/:(\w+)/g, "{$1}")]![method.toLowerCase()]!;
    const query = operation.parameters.filter((parameter) => parameter.in === "query").map(({ name }) => `\`${name}\``);
    const body = Object.keys(operation.requestBody?.content["application/json"].schema.properties ?? {}).map((name) =>
      `\`${name}\``
    );
    const takes = [query.join(" "), body.length > 0 ? `body: ${body.join(" ")}` : ""].filter((text) => text !== "").join("; ");
    return `| \`${method} ${path}\` | ${operation.summary.replaceAll("|", "\\|")} | ${takes} |`;
  });
  return ["| path | answers or does | takes |", "| --- | --- | --- |", ...rows].join("\n");
}
