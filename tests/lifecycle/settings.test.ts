import assert from "node:assert/strict";
import { availableParallelism } from "node:os";
import { describe, it } from "node:test";
import { LATER_VARIABLES, settingRows } from "../../src/lifecycle/setting-table.ts";
import {
  describeSettings,
  effectiveSettings,
  type Environment,
  parseSettings,
  type Settings,
} from "../../src/lifecycle/settings.ts";

const REGION = "0c6d9f3e-5a1b-4c2d-8e3f-123456789abc";
const MINIMAL: Environment = {
  EDGEPROXY_DATABASE_URL: "postgres://edge:s3cret@db.example:5432/platform",
  EDGEPROXY_REGION_ID: REGION,
};

function settings(env: Environment = {}): Settings {
  const parsed = parseSettings({ ...MINIMAL, ...env });
  assert.ok("settings" in parsed, "problems" in parsed ? parsed.problems.join("\n") : "");
  return parsed.settings;
}

/** With one the others matter. */
function collector(but = ""): Environment {
  return but === "OTEL_EXPORTER_OTLP_ENDPOINT" ? {} : { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:4318" };
}

function problems(env: Environment): readonly string[] {
  const parsed = parseSettings({ ...MINIMAL, ...env });
  assert.ok("problems" in parsed, "no problem found");
  return parsed.problems;
}

describe("parseSettings()", () => {
  it("accepts every value that the documents show", () => {
    for (const { variable, example } of settingRows()) if (example !== undefined) settings({ [variable]: example });
    assert.ok(settingRows().every((row) => row.required === undefined || row.example !== undefined), "what is required has one");
  });

  it("gives the defaults of the contract", () => {
    assert.deepEqual(settings(), {
      httpAddr: { host: "", port: 8080 },
      databaseUrl: "postgres://edge:s3cret@db.example:5432/platform",
      configFile: "",
      regionId: REGION,
      regionPort: 80,
      updateIntervalMs: 10_000,
      logLevel: "info",
      adminAddr: { host: "127.0.0.1", port: 9090 },
      adminToken: "",
      secret: "",
      workers: availableParallelism(),
      stateDir: "",
      errorPages: "",
      healthPath: "/",
      healthTimeoutMs: 2000,
      healthIntervalMs: 5000,
      connectTimeoutMs: 2000,
      responseTimeoutMs: 60_000,
      idleTimeoutMs: 75_000,
      headerTimeoutMs: 10_000,
      streamTimeoutMs: 300_000,
      minBodyRate: 240,
      shutdownTimeoutMs: 30_000,
      drainDelayMs: 0,
      orphanTimeoutMs: 300_000,
      handOverTimeoutMs: 60_000,
      maxHeaderBytes: 32_768,
      maxBodyBytes: 0,
      maxConnections: 0,
      trustedProxies: [],
      accessLog: { share: 0, errors: false },
      otlpEndpoint: "",
      otlpTracesEndpoint: "",
      otlpProtocol: "http/protobuf",
      otlpHeaders: {},
      otlpTimeoutMs: 10_000,
      otelServiceName: "",
      otelResource: {},
      tracesSampler: "",
      tracesSamplerArg: 0.01,
      otelDisabled: false,
    });
  });

  it("understands every kind of value", () => {
    const parsed = settings({
      EDGEPROXY_HTTP_ADDR: "[::1]:80",
      EDGEPROXY_REGION_ID: ` ${REGION.toUpperCase()} `,
      EDGEPROXY_UPDATE_INTERVAL: "1m30s",
      EDGEPROXY_HEALTH_TIMEOUT: "250ms",
      EDGEPROXY_STREAM_TIMEOUT: "1h",
      EDGEPROXY_CONNECT_TIMEOUT: "1.5s",
      EDGEPROXY_DRAIN_DELAY: "15s",
      EDGEPROXY_ORPHAN_TIMEOUT: "0s",
      EDGEPROXY_HANDOVER_TIMEOUT: "250ms",
      EDGEPROXY_LOG_LEVEL: "WARN",
      EDGEPROXY_ADMIN_ADDR: "off",
      EDGEPROXY_WORKERS: "0",
      EDGEPROXY_HEALTH_PATH: "/health?deep=1",
      EDGEPROXY_MAX_HEADER_SIZE: "64 KiB",
      EDGEPROXY_MAX_BODY_SIZE: "10MB",
      EDGEPROXY_MAX_CONNECTIONS: "512",
      EDGEPROXY_TRUSTED_PROXIES: "10.0.0.0/8, FD00::/8,192.0.2.1",
      EDGEPROXY_ACCESS_LOG: "1%",
    });
    assert.deepEqual(parsed.httpAddr, { host: "::1", port: 80 });
    assert.equal(parsed.regionId, REGION);
    assert.equal(parsed.updateIntervalMs, 90_000);
    assert.equal(parsed.healthTimeoutMs, 250);
    assert.equal(parsed.streamTimeoutMs, 3_600_000);
    assert.equal(parsed.connectTimeoutMs, 1500);
    assert.equal(parsed.drainDelayMs, 15_000);
    assert.equal(parsed.orphanTimeoutMs, 0);
    assert.equal(parsed.handOverTimeoutMs, 250);
    assert.equal(parsed.logLevel, "warn");
    assert.equal(parsed.adminAddr, null);
    assert.equal(parsed.workers, 0);
    assert.equal(parsed.healthPath, "/health?deep=1");
    assert.equal(parsed.maxHeaderBytes, 65_536);
    assert.equal(parsed.maxBodyBytes, 10_000_000);
    assert.equal(parsed.maxConnections, 512);
    assert.deepEqual(parsed.trustedProxies, ["10.0.0.0/8", "fd00::/8", "192.0.2.1"]);
    assert.deepEqual(parsed.accessLog, { share: 0.01, errors: true });
  });

  it("knows what the access log is to hold", () => {
    const accessLogs: Readonly<Record<string, [share: number, errors: boolean]>> = {
      off: [0, false],
      ON: [1, true],
      errors: [0, true],
      "0%": [0, true],
      "2.5%": [0.025, true],
      "100%": [1, true],
    };
    for (const [text, [share, errors]] of Object.entries(accessLogs)) {
      assert.deepEqual(settings({ EDGEPROXY_ACCESS_LOG: text }).accessLog, { share, errors }, text);
    }
  });

  it("counts an empty value as not set", () => {
    const empty = Object.fromEntries(
      [...settingRows().map((row) => row.variable), ...LATER_VARIABLES].map((variable) => [variable, " "]),
    );
    const parsed = parseSettings({ ...empty, ...MINIMAL });
    assert.deepEqual(parsed, { settings: settings(), warnings: [] });
  });

  it("reports every problem at once, one line each", () => {
    assert.deepEqual(
      problems({
        EDGEPROXY_DATABASE_URL: "",
        EDGEPROXY_REGION_ID: "eu",
        EDGEPROXY_HTTP_ADDR: "8080",
        EDGEPROXY_UPDATE_INTERVAL: "10",
        EDGEPROXY_WORKERS: "-1",
        EDGEPROXY_HTTPS_ADDR: ":8443",
      }),
      [
        'EDGEPROXY_HTTP_ADDR: must be an address such as :8080, 127.0.0.1:8080 or [::1]:8080, got "8080"',
        "EDGEPROXY_DATABASE_URL: is required, unless EDGEPROXY_CONFIG_FILE has the routes",
        'EDGEPROXY_REGION_ID: must be a UUID, got "eu"',
        'EDGEPROXY_UPDATE_INTERVAL: must be a duration such as 250ms, 10s or 1m30s, got "10"',
        'EDGEPROXY_WORKERS: must be a whole number from 0 to 256, got "-1"',
        "EDGEPROXY_HTTPS_ADDR: not supported by this version",
      ],
    );
  });

  it("wants no database where there is a routes file", () => {
    assert.deepEqual(problems({ EDGEPROXY_DATABASE_URL: "" }), [
      "EDGEPROXY_DATABASE_URL: is required, unless EDGEPROXY_CONFIG_FILE has the routes",
    ]);
    const parsed = settings({ EDGEPROXY_DATABASE_URL: "", EDGEPROXY_CONFIG_FILE: "/etc/routes.yaml" });
    assert.deepEqual([parsed.databaseUrl, parsed.configFile], ["", "/etc/routes.yaml"]);
    assert.equal(effectiveSettings(parsed)["EDGEPROXY_DATABASE_URL"], "");
  });

  it("never shows the secret", () => {
    const parsed = settings({ EDGEPROXY_SECRET: "wonderfully-long-secret" });
    assert.equal(effectiveSettings(parsed)["EDGEPROXY_SECRET"], "***");
    assert.equal(JSON.stringify(describeSettings(parsed)).includes("wonderfully"), false);
    assert.match(problems({ EDGEPROXY_SECRET: "wonderfully ö" }).join(), /got "\*\*\*"/);
  });

  it("wants no token for a unix socket, which has permissions", () => {
    const { adminAddr, adminToken } = settings({ EDGEPROXY_ADMIN_ADDR: "unix:/run/edgeproxy/admin.sock" });
    assert.deepEqual([adminAddr, adminToken], [{ path: "/run/edgeproxy/admin.sock" }, ""]);
    const effective = effectiveSettings(settings({ EDGEPROXY_ADMIN_ADDR: "unix:/run/a.sock" }));
    assert.equal(effective.EDGEPROXY_ADMIN_ADDR, "unix:/run/a.sock");
  });

  it("refuses values that are wrong or make no sense", () => {
    const wrong: Record<string, readonly string[]> = {
      EDGEPROXY_HTTP_ADDR: ["localhost:80", "::1:80", "[10.0.0.1]:80", ":65536", "127.0.0.1", ":", "300.0.0.1:80"],
      EDGEPROXY_DATABASE_URL: ["db", "mysql://db/platform", "postgres://db:0/platform", "postgres://db?sslmode=maybe"],
      EDGEPROXY_REGION_PORT: ["0", "65536", "http"],
      EDGEPROXY_UPDATE_INTERVAL: ["0s", "50ms", "25h", "1d", "s", "1s1"],
      EDGEPROXY_LOG_LEVEL: ["trace"],
      EDGEPROXY_ADMIN_ADDR: ["none", "9090", "unix:", "unix:admin.sock", "unix:/run/", `unix:/${"a".repeat(99)}`],
      EDGEPROXY_ADMIN_TOKEN: ["two words", "schlüssel"],
      EDGEPROXY_WORKERS: ["257", "1.5", "many"],
      EDGEPROXY_HEALTH_PATH: ["health", "/a b", "/#x", "http://x/"],
      EDGEPROXY_HEALTH_INTERVAL: ["0s"],
      EDGEPROXY_DRAIN_DELAY: ["61m", "15"],
      EDGEPROXY_ORPHAN_TIMEOUT: ["25h", "never"],
      EDGEPROXY_HANDOVER_TIMEOUT: ["50ms", "2h"],
      EDGEPROXY_MAX_HEADER_SIZE: ["512", "2MiB", "32 kilobytes", "-1"],
      EDGEPROXY_MAX_BODY_SIZE: ["1.5", "unlimited"],
      EDGEPROXY_MAX_CONNECTIONS: ["1k"],
      EDGEPROXY_TRUSTED_PROXIES: ["10.0.0.0/33", "example.com", "10.0.0.0/8/8", "::/129", "10.0.0.0/"],
      EDGEPROXY_ACCESS_LOG: ["101%", "yes", "0.5"],
      OTEL_EXPORTER_OTLP_ENDPOINT: ["collector:4317", "grpc://collector:4317", "4318"],
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: ["/v1/traces"],
      OTEL_EXPORTER_OTLP_PROTOCOL: ["grpc", "http/json"],
      OTEL_EXPORTER_OTLP_HEADERS: ["Bearer abc", "=x", "a b=c", "a=%zz", "a=%0d%0aX:%20y", "a=b,c"],
      OTEL_EXPORTER_OTLP_TIMEOUT: ["0", "10s", "600001", "-1"],
      OTEL_RESOURCE_ATTRIBUTES: ["team", "=edge", "a=%e4"],
      OTEL_TRACES_SAMPLER: ["always", "xray", "jaeger_remote"],
      OTEL_TRACES_SAMPLER_ARG: ["1.5", "1%", "-0.1", ".", "endpoint=http://x"],
      OTEL_SDK_DISABLED: ["1", "yes"],
    };
    for (const [variable, values] of Object.entries(wrong)) {
      for (const value of values) {
        const found = problems({ ...collector(variable), [variable]: value });
        assert.equal(found.length, 1, `${variable}=${value}: ${found.join("; ")}`);
        assert.match(found[0] ?? "", new RegExp(`^${variable}: must .*, got "`));
      }
    }
  });

  it("requires a token as soon as the admin address is not loopback", () => {
    for (const address of [":9090", "0.0.0.0:9090", "10.0.0.1:9090", "[::]:9090"]) {
      assert.deepEqual(problems({ EDGEPROXY_ADMIN_ADDR: address }), [
        `EDGEPROXY_ADMIN_TOKEN: is required because EDGEPROXY_ADMIN_ADDR is not a loopback address, got "${address}"`,
      ]);
      assert.equal(settings({ EDGEPROXY_ADMIN_ADDR: address, EDGEPROXY_ADMIN_TOKEN: "secret" }).adminToken, "secret");
    }
    for (const address of ["off", "[::1]:9090", "127.0.0.2:9090"]) settings({ EDGEPROXY_ADMIN_ADDR: address });
  });

  it("warns about unknown variables with the nearest known name", () => {
    const parsed = parseSettings({
      ...MINIMAL,
      EDGEPROXY_REGON_ID: "x",
      EDGEPROXY_HTTP_ADDRESS: ":80",
      PATH: "/bin",
      EDGEPROXY_OFF: undefined,
    });
    assert.deepEqual(parsed.warnings, [
      "EDGEPROXY_REGON_ID: unknown variable, ignored; did you mean EDGEPROXY_REGION_ID?",
      "EDGEPROXY_HTTP_ADDRESS: unknown variable, ignored; did you mean EDGEPROXY_HTTP_ADDR?",
    ]);
  });

  it("warns about parameters of the database URL that nobody knows", () => {
    const parsed = parseSettings({ ...MINIMAL, EDGEPROXY_DATABASE_URL: "postgres://db/x?schema=public&channel_binding=prefer" });
    assert.deepEqual(parsed.warnings, ['EDGEPROXY_DATABASE_URL: parameter "schema" is not known and ignored']);
  });

  it("warns about a token that can be guessed, without showing it", () => {
    const warnings = (token: string) => parseSettings({ ...MINIMAL, EDGEPROXY_ADMIN_TOKEN: token }).warnings;
    assert.deepEqual(warnings("fifteen-letters"), [
      "EDGEPROXY_ADMIN_TOKEN: is so short that it can be guessed; 16 random characters cannot",
    ]);
    assert.deepEqual(warnings("sixteen--letters"), []);
  });

  it("warns about no setting that is understood", () => {
    const parsed = parseSettings({ ...MINIMAL, EDGEPROXY_WORKERS: "4", EDGEPROXY_STATE_DIR: "/var/lib/edgeproxy" });
    assert.deepEqual(parsed.warnings, []);
  });

  it("only warns about OpenTelemetry's variables while nothing is exported, and takes them for unset", () => {
    const wrong = {
      OTEL_EXPORTER_OTLP_PROTOCOL: "grpc",
      OTEL_EXPORTER_OTLP_HEADERS: "authorization: s3cret",
      OTEL_RESOURCE_ATTRIBUTES: "team",
      OTEL_TRACES_SAMPLER: "jaeger_remote",
      OTEL_TRACES_SAMPLER_ARG: "endpoint=http://x",
    };
    const disabled = { OTEL_SDK_DISABLED: "True", OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4317" };
    for (const env of [wrong, { ...wrong, ...disabled }, { ...wrong, OTEL_SDK_DISABLED: "yes" }]) {
      const parsed = parseSettings({ ...MINIMAL, ...env });
      assert.ok("settings" in parsed);
      const { otlpProtocol, otlpHeaders, otelResource, tracesSampler, tracesSamplerArg } = parsed.settings;
      assert.deepEqual(
        [otlpProtocol, otlpHeaders, otelResource, tracesSampler, tracesSamplerArg],
        ["http/protobuf", {}, {}, "", 0.01],
      );
      const { length } = Object.values(env).filter((value) => value !== "True");
      assert.equal(parsed.warnings.length, length, parsed.warnings.join("\n"));
      for (const warning of parsed.warnings) assert.match(warning, /^OTEL_\w+: must .*; ignored, since no spans are exported$/);
      assert.doesNotMatch(parsed.warnings.join(), /s3cret/);
    }
    for (const variable of ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]) {
      assert.equal(problems({ ...wrong, [variable]: "http://127.0.0.1:4318" }).length, 5);
    }
  });

  it("shows no secret in problems", () => {
    const secret = "s3cret";
    const urls = [
      `postgres://edge:${secret}@db:0/x`,
      `postgres://edge:${secret}%@db/x`,
      `postgres://edge:${secret}/x@db/x`,
      `mysql://edge:${secret}@db/x`,
      `edge:${secret}@db/x`,
      `postgres//edge:${secret}@db/x`,
      `host=db password=${secret}`,
      `postgres://db/x?password=${secret}&sslmode=maybe`,
    ];
    for (const url of urls) {
      const found = problems({ EDGEPROXY_DATABASE_URL: url }).join("\n");
      assert.doesNotMatch(found, /s3cret/, url);
      assert.match(found, /got ".*\*\*\*"/);
    }
    assert.doesNotMatch(problems({ EDGEPROXY_ADMIN_TOKEN: `${secret} x` }).join("\n"), /s3cret/);
    for (const headers of [`Bearer ${secret}`, `authorization: ${secret}`, `a=b,${secret}`]) {
      assert.doesNotMatch(problems({ ...collector(), OTEL_EXPORTER_OTLP_HEADERS: headers }).join("\n"), /s3cret/);
    }
    for (const url of [`ftp://edge:${secret}@collector/`, `edge:${secret}@collector`, `/v1/traces?key=${secret}`]) {
      assert.doesNotMatch(problems({ OTEL_EXPORTER_OTLP_ENDPOINT: url }).join("\n"), /s3cret/);
    }
  });
});

describe("effectiveSettings()", () => {
  it("shows every setting as a user would write it, secrets masked", () => {
    const shown = effectiveSettings(
      settings({ EDGEPROXY_ADMIN_TOKEN: "s3cret", EDGEPROXY_WORKERS: "2", EDGEPROXY_UPDATE_INTERVAL: "90s" }),
    );
    assert.deepEqual(Object.keys(shown), settingRows().map((row) => row.variable));
    assert.equal(shown["EDGEPROXY_DATABASE_URL"], "postgres://edge:***@db.example:5432/platform");
    assert.equal(shown["EDGEPROXY_ADMIN_TOKEN"], "***");
    assert.equal(shown["EDGEPROXY_UPDATE_INTERVAL"], "1m30s");
    assert.equal(shown["EDGEPROXY_HTTP_ADDR"], ":8080");
    assert.doesNotMatch(JSON.stringify(shown), /s3cret/);
    const collector = effectiveSettings(settings({
      OTEL_EXPORTER_OTLP_ENDPOINT: "https://edge:s3cret@collector.test:4318/x?key=s3cret",
      OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20s3cret,x-scope-orgid=s3cret",
    }));
    assert.equal(collector["OTEL_EXPORTER_OTLP_ENDPOINT"], "https://***@collector.test:4318/x?***");
    assert.equal(collector["OTEL_EXPORTER_OTLP_HEADERS"], "authorization=***,x-scope-orgid=***");
  });

  it("shows what parseSettings() would read again", () => {
    const first = settings({
      EDGEPROXY_HTTP_ADDR: "[::1]:80",
      EDGEPROXY_ADMIN_ADDR: "off",
      EDGEPROXY_UPDATE_INTERVAL: "1h1m1s1ms",
      EDGEPROXY_SHUTDOWN_TIMEOUT: "0s",
      EDGEPROXY_MAX_HEADER_SIZE: "1MiB",
      EDGEPROXY_MAX_BODY_SIZE: "1000001",
      EDGEPROXY_TRUSTED_PROXIES: "10.0.0.0/8,::1",
      EDGEPROXY_ACCESS_LOG: "0.1%",
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:4318",
      OTEL_RESOURCE_ATTRIBUTES: "team=edge%2C%20night,a=b",
      OTEL_TRACES_SAMPLER: "traceidratio",
      OTEL_TRACES_SAMPLER_ARG: "0.25",
      OTEL_SDK_DISABLED: "TRUE",
    });
    assert.deepEqual(settings({ ...effectiveSettings(first), EDGEPROXY_DATABASE_URL: first.databaseUrl }), first);
  });
});
