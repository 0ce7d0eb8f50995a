/** Which fields of a message a policy may edit, for those who read policies and know no bytes. */
export { whyUneditable } from "../wire/field-edits.ts";
