/** Which fields of a message a policy may edit, for those who read policies and know no bytes. */
export { isHostField, whyUneditable } from "../wire/field-edits.ts";
export { normaliseHost } from "../wire/host.ts";
