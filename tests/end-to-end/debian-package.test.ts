/** The package for Debian: what is in it, and that it installs, upgrades and goes; with the manual page and the completions it brings. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { COMMANDS } from "../../src/cli/usage.ts";
import { runEdgeproxy } from "../fixtures/edgeproxy.ts";
import { get, Platform } from "../fixtures/platform.ts";
import { startPostgres } from "../fixtures/postgres.ts";
import { Systemd } from "../fixtures/systemd.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const SETTINGS = "etc/edgeproxy/edgeproxy.env";

interface Outcome {
  readonly exitCode: number | null;
  readonly output: string;
}

/** Both outputs as one text. */
async function run(program: string, words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  const child = spawn(program, words, { cwd: ROOT, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => output += text);
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.once("error", reject);
  child.once("close", resolve);
  return { exitCode: await promise, output };
}

async function succeed(program: string, words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> {
  const { exitCode, output } = await run(program, words, env);
  assert.equal(exitCode, 0, `${program} ${words.join(" ")}: ${output}`);
  return output;
}

async function present(program: string): Promise<boolean> {
  return (await run("sh", ["-c", `command -v ${program}`])).exitCode === 0;
}

async function absent(...programs: readonly string[]): Promise<readonly string[]> {
  const found = await Promise.all(programs.map(present));
  return programs.filter((_, index) => found[index] === false);
}

/** Runs where everything is there; the name of a test that is skipped says why. */
function testWith(missing: readonly string[], name: string, body: () => Promise<void>): void {
  if (missing.length === 0) test(name, body);
  else test(`${name} [skipped: ${missing.join(", ")} missing]`, { skip: true }, () => {});
}

const packing = await absent("dpkg-deb", "dpkg");
const root = process.getuid?.() === 0 ? [] : ["root"];
const installing = [...packing, ...root, ...await absent("systemd-sysusers", "systemd-tmpfiles", "deb-systemd-helper")];

/** Containers have root without this right. */
const mounting =
  (await present("unshare")) && (await run("unshare", ["--mount", "mount", "-t", "tmpfs", "run", "/run"])).exitCode === 0
    ? []
    : ["unshare --mount"];

let folder: string;
const built: string[] = [];
before(async () => folder = await mkdtemp(join(tmpdir(), "edgeproxy-package-")));
after(async () => {
  for (const path of [folder, ...built]) await rm(path, { recursive: true, force: true });
});

async function build(version: string): Promise<string> {
  // Not compressed: that would take most of the time
  const output = await succeed("packaging/deb.sh", [version], { DEB_COMPRESSION: "-Znone", SOURCE_DATE_EPOCH: "1700000000" });
  const path = join(ROOT, output.slice(0, output.indexOf(" (")));
  built.push(path);
  return path;
}

testWith(packing, "the package holds what it should, owned by root, with the settings for root alone", async () => {
  const lines = (await succeed("dpkg-deb", ["--contents", await build("0.0.1")])).trimEnd().split("\n");
  const entries = new Map(lines.map((line) => {
    const [mode = "", owner = "", , date = "", , path = ""] = line.split(/ +/);
    assert.equal(owner, "root/root", line);
    assert.equal(date, "2023-11-14", line);
    return [path.slice(2), mode];
  }));
  const expected = {
    "usr/bin/edgeproxy": "-rwxr-xr-x",
    [SETTINGS]: "-rw-------",
    "usr/lib/systemd/system/edgeproxy.service": "-rw-r--r--",
    "usr/lib/systemd/system/edgeproxy.socket": "-rw-r--r--",
    "usr/share/man/man1/edgeproxy.1.gz": "-rw-r--r--",
    "usr/share/bash-completion/completions/edgeproxy": "-rw-r--r--",
    "usr/share/zsh/vendor-completions/_edgeproxy": "-rw-r--r--",
    "usr/share/fish/vendor_completions.d/edgeproxy.fish": "-rw-r--r--",
    "usr/share/doc/edgeproxy/copyright": "-rw-r--r--",
    "usr/share/doc/edgeproxy/changelog.gz": "-rw-r--r--",
    "usr/share/doc/edgeproxy/docs/operations.md": "-rw-r--r--",
    "usr/share/doc/edgeproxy/routes.schema.json": "-rw-r--r--",
  };
  for (const [path, mode] of Object.entries(expected)) assert.equal(entries.get(path), mode, path);
  for (const [path, mode] of entries) assert.ok(!/^.(....w|.......w)/.test(mode), `only root may write ${path}`);
  assert.equal((await succeed("dpkg-deb", ["--info", built[0]!, "conffiles"])).trim(), `/${SETTINGS}`);
});

testWith(packing, "the same sources give the same package", async () => {
  const digest = async (): Promise<string> => createHash("sha256").update(await readFile(await build("0.0.1"))).digest("hex");
  assert.equal(await digest(), await digest());
});

testWith(installing, "it installs, runs, upgrades with the operator's settings kept, and goes without a trace", async () => {
  const place = join(folder, "root");
  await mkdir(join(place, "var/lib/dpkg"), { recursive: true });
  await mkdir(join(place, "etc"));
  await writeFile(join(place, "var/lib/dpkg/status"), "");
  const dpkg = (...words: string[]): Promise<string> =>
    succeed("dpkg", [`--root=${place}`, "--force-script-chrootless", "--force-depends", ...words]);

  const said = await dpkg("--install", await build("0.0.1"));
  assert.match(said, /set the database and the region in \/etc\/edgeproxy\/edgeproxy\.env/);
  assert.match(await succeed(join(place, "usr/bin/edgeproxy"), ["version"]), /^edgeproxy \S+\n$/);
  const [, uid, gid] =
    /^edgeproxy:x:(\d+):(\d+):.*:\/usr\/sbin\/nologin$/m.exec(await readFile(join(place, "etc/passwd"), "utf8")) ?? [];
  const state = await stat(join(place, "var/lib/edgeproxy"));
  assert.deepEqual([state.uid, state.gid, state.mode & 0o777], [Number(uid), Number(gid), 0o700]);
  assert.deepEqual(await readdir(join(place, "etc/systemd/system/multi-user.target.wants")), ["edgeproxy.service"], "enabled");
  if (await present("systemd-analyze")) {
    const unit = join(place, "usr/lib/systemd/system/edgeproxy.service");
    // It is verified as the unit of the machine at hand, where the program is not at its place
    const text = (await readFile(unit, "utf8")).replace("/usr/bin/edgeproxy", join(place, "usr/bin/edgeproxy"));
    assert.match(text, /^OOMPolicy=continue$/m, "the end of one process is not the end of all");
    const copy = join(folder, "edgeproxy.service");
    await writeFile(copy, text);
    const { output } = await run("systemd-analyze", ["verify", "--man=no", copy]);
    assert.deepEqual(output.split("\n").filter((line) => line.includes("edgeproxy")), [], "nothing of ours is complained about");
  }

  const settings = join(place, SETTINGS);
  const changed = (await readFile(settings, "utf8")).replace(
    /^EDGEPROXY_REGION_ID=.*$/m,
    "EDGEPROXY_REGION_ID=11111111-2222-3333-4444-555555555555",
  );
  await writeFile(settings, changed);
  await dpkg("--install", await build("0.0.2"));
  assert.equal(await readFile(settings, "utf8"), changed);
  assert.equal((await stat(settings)).mode & 0o777, 0o600);

  await dpkg("--remove", "edgeproxy");
  assert.equal(await readFile(settings, "utf8"), changed, "a removal keeps the settings");
  await writeFile(join(place, "var/lib/edgeproxy/routes"), "");
  await dpkg("--purge", "edgeproxy");
  const left = await readdir(place, { recursive: true });
  assert.deepEqual(left.filter((path) => path.includes("edgeproxy")), []);
});

testWith(
  [...packing, ...root, ...mounting],
  "an upgrade hands over: the script signals the main process and waits for the next",
  async () => {
    await using server = await startPostgres();
    await using platform = await Platform.start(server);
    await platform.vm("app.example.com");
    await using manager = await Systemd.start();
    const edge = await platform.edge(manager.env);
    const tools = join(folder, "tools");
    await mkdir(tools);
    const pidFile = join(tools, "main-pid");
    const tool = async (name: string, script: string): Promise<void> => {
      await writeFile(join(tools, name), `#!/bin/sh\n${script}\n`);
      await chmod(join(tools, name), 0o755);
    };
    await writeFile(pidFile, String(edge.pid));
    await tool("systemctl", `case "$1" in show) cat ${pidFile} ;; esac`);
    for (const name of ["systemd-sysusers", "systemd-tmpfiles", "deb-systemd-helper"]) await tool(name, "exit 0");

    // What tells the script that systemd runs is a folder, made in a name space of its own
    const postinst = run("unshare", [
      "--mount",
      "sh",
      "-c",
      `mount -t tmpfs run /run && mkdir -p /run/systemd/system && sh packaging/debian/postinst configure 0.0.1`,
    ], {
      PATH: `${tools}:${process.env["PATH"]}`,
    });
    const number = await manager.message(/^MAINPID=\d+/m);
    const successor = /^MAINPID=(\d+)/m.exec(manager.messages[number] ?? "")?.[1] ?? "";
    assert.notEqual(successor, String(edge.pid));
    await writeFile(pidFile, successor);
    const { exitCode, output } = await postinst;
    assert.equal(exitCode, 0, output);
    assert.match(output, /the new version has taken over/);
    assert.equal(await edge.ended, 0, "the one before drains and ends");
    assert.equal((await get(edge, "app.example.com")).status, 200);
  },
);

testWith(await absent("man", "groff"), "the manual page renders without a warning", async () => {
  assert.equal(await succeed("groff", ["-man", "-Tutf8", "-ww", "-z", "packaging/edgeproxy.1"]), "");
  const page = await succeed("man", ["-l", "packaging/edgeproxy.1"], { MANPAGER: "cat", MANWIDTH: "200", LC_ALL: "C.UTF-8" });
  for (const { name } of COMMANDS) assert.match(page, new RegExp(`^ +${name}\\b`, "m"));
});

async function bashCompletes(line: string): Promise<string[]> {
  const words = line.split(" ");
  const script = `source packaging/completions/edgeproxy.bash; COMP_WORDS=(${words.map((word) => `"${word}"`).join(" ")}); ` +
    `COMP_CWORD=${words.length - 1}; $(complete -p edgeproxy | sed 's/.*-F \\([^ ]*\\).*/\\1/'); printf '%s\\n' "\${COMPREPLY[@]}"`;
  return (await succeed("bash", ["-c", script])).trimEnd().split("\n");
}

testWith(await absent("bash"), "bash completes commands and their options", async () => {
  assert.deepEqual(await bashCompletes("edgeproxy "), [...COMMANDS.map(({ name }) => name), "--help"]);
  assert.deepEqual(await bashCompletes("edgeproxy ch"), ["check"]);
  for (const command of COMMANDS) {
    const flags = "options" in command ? command.options.map(({ flag }) => flag) : [""];
    assert.deepEqual(await bashCompletes(`edgeproxy ${command.name} `), flags);
  }
  assert.deepEqual(await bashCompletes("edgeproxy routes --host "), [""], "a value is the operator's");
  assert.deepEqual(await bashCompletes("edgeproxy check --env-file packaging/edgeproxy.e"), ["packaging/edgeproxy.env"]);
});

testWith(await absent("zsh"), "zsh can read its completions", async () => {
  await succeed("zsh", ["-n", "packaging/completions/_edgeproxy"]);
});

testWith(await absent("fish"), "fish completes commands and their options", async () => {
  const ask = (line: string): Promise<string> =>
    succeed("fish", ["--no-config", "-c", `source packaging/completions/edgeproxy.fish; complete -C'${line}'`]);
  assert.match(await ask("edgeproxy ch"), /^check\t/);
  assert.match(await ask("edgeproxy check --env-file packaging/edgeproxy.e"), /^packaging\/edgeproxy\.env/m);
  assert.match(await ask("edgeproxy migrate --"), /^--print\t.*\n--remove\t/m);
});

test("commands know the options that the table gives them", async () => {
  for (const command of COMMANDS) {
    for (const option of "options" in command ? command.options : []) {
      const words = [
        command.name,
        option.flag,
        ..."value" in option ? ["Name: x"] : [],
        ...command.name === "demo" ? ["--help"] : [],
      ];
      const { stderr } = await runEdgeproxy(words, { env: {} });
      assert.doesNotMatch(stderr, /unknown option/i, words.join(" "));
    }
  }
});
