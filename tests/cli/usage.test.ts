import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { COMMANDS, configurationTable, helpText, unknownCommand, versionText } from "../../src/cli/usage.ts";
import { LATER_VARIABLES, settingRows } from "../../src/lifecycle/setting-table.ts";

describe("helpText()", () => {
  it("names every command and every setting, and nothing that does not exist yet", () => {
    const lines = helpText().split("\n").map((line) => line.trim());
    for (const { name } of COMMANDS) assert.ok(lines.some((line) => line.split(" ")[0] === name), name);
    for (const { variable } of settingRows()) {
      assert.equal(lines.filter((line) => line.startsWith(`${variable} `)).length, 1, variable);
    }
    for (const variable of LATER_VARIABLES) assert.ok(!helpText().includes(variable), variable);
  });

  it("shows defaults and what is required", () => {
    assert.match(helpText(), /EDGEPROXY_REGION_ID +UUID of the region this proxy runs in \(required\)/);
    assert.match(helpText(), /EDGEPROXY_UPDATE_INTERVAL +how often routes are refreshed \[10s\]/);
    assert.match(helpText(), /EDGEPROXY_WORKERS .*\[number of CPUs\]/);
  });
});

describe("configurationTable()", () => {
  it("is Markdown in the order of the contract", () => {
    const lines = configurationTable().split("\n");
    assert.equal(lines[2], "| `EDGEPROXY_HTTP_ADDR` | no | `:8080` | listen address for HTTP |");
    assert.equal(lines[4], "| `EDGEPROXY_REGION_ID` | yes |  | UUID of the region this proxy runs in |");
    assert.equal(lines.length, settingRows().length + 2);
  });
});

describe("unknownCommand()", () => {
  it("names the argument and the nearest command", () => {
    assert.equal(unknownCommand("chek"), 'Unknown command "chek"; did you mean "check"?');
    assert.equal(unknownCommand("route"), 'Unknown command "route"; did you mean "routes"?');
    assert.equal(unknownCommand("--verbose"), 'Unknown option "--verbose"');
  });
});

describe("versionText()", () => {
  it("is the name and the version", () => assert.match(versionText(), /^edgeproxy \S+$/));
});
