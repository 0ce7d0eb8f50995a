/** The routes file as a whole, for what is read piece by piece and for the schema that editors use; and a domain's policy. */
import { z } from "zod";
import type { SandboxPolicy } from "../table/policy.ts";
import { requestFieldsSet } from "./policy-schema-answers.ts";
import { bareRouteSchema, domainRouteSchema, path, routeSchema, treatmentKeys } from "./policy-schema-routes.ts";
import { endpointPolicyKeys, healthSchema, serviceSchema } from "./policy-schema-services.ts";
import { endpointUrl, fieldName, mapping, routeKey, text, whole } from "./policy-values.ts";

export { bareRouteSchema, domainRouteSchema, healthSchema, routeSchema, serviceSchema };

const CARRIERS = ["header", "baggage", "tracestate", "cookie", "host"] as const;
const TRUST = ["trusted-proxies", "anyone"] as const;

export const sandboxSchema = mapping({
  routeKeyHeader: fieldName.prefault("X-Route-Key").describe("The header field with the key."),
  carriers: z.union([z.enum(CARRIERS), z.array(z.enum(CARRIERS)).max(5)]).transform((written) => [written].flat())
    .meta({ accepts: `list of ${CARRIERS.join(", ")}` }).prefault([...CARRIERS]).describe("What a key may come in, in this order."),
  trust: z.enum(TRUST).default("trusted-proxies").describe("From whom an unsigned key is believed."),
}).transform(({ routeKeyHeader, carriers, trust }): SandboxPolicy => ({
  routeKeyHeader: routeKeyHeader.toLowerCase(),
  carriers: [...new Set(carriers)],
  trust,
}));

export const sandboxRuleSchema = mapping({
  routeKey: routeKey.describe("Only requests with this key."),
  targetService: endpointUrl.describe("Where they go."),
  pathPrefixes: z.union([path, z.array(path).max(100)]).transform((written) => [written].flat())
    .meta({ accepts: "list of paths" }).prefault([]).describe("Only paths below one of them. Without it: any."),
  headerMatchers: z.record(z.string(), z.union([text(8192), z.int(), z.boolean()])).transform((written, context) => {
    for (const name of Object.keys(written)) {
      if (!fieldName.safeParse(name).success) {
        context.addIssue({ code: "custom", message: "must be the name of a header field: letters, digits, -", path: [name] });
      }
    }
    return Object.entries(written).map(([name, value]) => [name, String(value)] as const);
  }).meta({ accepts: "mapping of names to texts" }).describe("Header fields that have to be equal.").optional(),
  additionalHeaders: requestFieldsSet.describe("Set on these requests.").optional(),
});
export type WrittenSandboxRule = z.output<typeof sandboxRuleSchema>;

export const routingKeys = {
  routeKeyHeader: fieldName.describe("As `sandbox.routeKeyHeader`.").optional(),
  defaultTarget: endpointUrl.describe("For every request that no rule and no other route fits.").optional(),
} as const;

const port = whole(0, 65_535).describe("Ignored: addresses are settings.").optional();
export const serverSchema = mapping({ httpPort: port, grpcPort: port, metricsPort: port });

const services = z.record(z.string(), serviceSchema).describe("Groups of endpoints under one policy, by name.").optional();

/** For editors, which look there for the schema of a JSON file. */
export const schemaHint = z.string().optional();

/** The whole, as editors are told of it. */
export const routesFileSchema = mapping({
  $schema: schemaHint.describe("Where editors find the schema of this file."),
  services,
  routes: z.array(routeSchema).describe("What happens to which requests.").optional(),
  sandbox: sandboxSchema.describe("How sandbox keys come, and from whom.").optional(),
  routing: mapping({ ...routingKeys, rules: z.array(sandboxRuleSchema).describe("The first that fits.").optional() }).describe(
    "The sandbox router's own shape.",
  ).optional(),
  server: serverSchema.describe("Of the sandbox router; ignored.").optional(),
});

/** The value of `route_policies.policy`. */
export const domainPolicySchema = mapping({
  ...treatmentKeys,
  ...endpointPolicyKeys,
  services,
  routes: z.array(domainRouteSchema).describe("Other routes of the domain.").optional(),
});
export const ownVmsSchema = z.object(endpointPolicyKeys);
