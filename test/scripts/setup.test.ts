/**
 * @file scripts/setup.sh on machines that are not this one: its tools are stubs in a folder that is the whole PATH, each of
 * which writes down how it was called. The real thing runs in a bare Debian system in the gate.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

/** What the script may expect of any POSIX system. */
const COMMON = ['bash', 'dirname', 'env', 'cat'];

/** Scripts by name, for a Debian machine where dpkg has never heard of anything and everything works. */
const DEBIAN = {
  'apt-get': '',
  'dpkg-query': 'echo "no packages found" >&2; exit 1',
  id: 'echo 0',
  node: 'echo v20.19.0',
  npm: '',
};

function setUp(stubs: Record<string, string | undefined>) {
  const root = mkdtempSync(join(tmpdir(), 'unfold-setup-'));
  const [bin, calls] = [join(root, 'bin'), join(root, 'calls')];
  cpSync('scripts/setup.sh', join(root, 'scripts/setup.sh'), { recursive: true });
  cpSync('scripts/say-why.sh', join(root, 'scripts/say-why.sh'));
  mkdirSync(bin);
  writeFileSync(calls, '');
  for (const tool of COMMON) symlinkSync(whichOf(tool), join(bin, tool));
  for (const [name, body] of Object.entries(stubs)) {
    if (body === undefined) continue;
    writeFileSync(join(bin, name), `#!${whichOf('bash')}\necho "${name} $*" >> '${calls}'\n${body}\n`);
    chmodSync(join(bin, name), 0o755);
  }
  const { status, stdout, stderr } = spawnSync(join(bin, 'bash'), [join(root, 'scripts/setup.sh')], {
    env: { PATH: bin, HOME: root, CALLS: calls },
    encoding: 'utf8',
  });
  return { status, stdout, stderr, calls: readFileSync(calls, 'utf8').trim().split('\n') };
}

const whichOf = (tool: string) =>
  ['/usr/bin', '/bin'].map((dir) => join(dir, tool)).find((path) => existsSync(path))!;

describe('scripts/setup.sh', () => {
  it('installs what dpkg has never heard of, then the packages of npm', () => {
    const { status, stderr, calls } = setUp(DEBIAN);
    expect([status, stderr.includes('stopped')]).toEqual([0, false]);
    expect(calls).toContain('apt-get -qq update');
    expect(calls).toContain(
      'apt-get -qq install -y --no-install-recommends g++ libdnnl-dev libopenblas-dev make python3-pip redis-server',
    );
    expect(calls.at(-1)).toBe('npm ci --no-fund --no-audit');
  });

  it('asks for what is missing only', () => {
    const some = `case "$3" in g++|make|python3-pip) printf 'install ok installed';; libdnnl-dev) printf 'deinstall ok config-files';; *) exit 1;; esac`;
    const { calls } = setUp({ ...DEBIAN, 'dpkg-query': some });
    expect(calls).toContain(
      'apt-get -qq install -y --no-install-recommends libdnnl-dev libopenblas-dev redis-server',
    );
    const none = setUp({ ...DEBIAN, 'dpkg-query': `printf 'install ok installed'` });
    expect(none.calls.filter((call) => call.startsWith('apt-get'))).toEqual([]);
  });

  it('goes through sudo where it is not root', () => {
    const { status, calls } = setUp({ ...DEBIAN, id: 'echo 1000', sudo: '"$@"' });
    expect(status).toBe(0);
    expect(calls).toContain('sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq update');
  });

  it.each([
    ['there is no sudo', { id: 'echo 1000' }, /not root, and there is no sudo/],
    ['apt-get has no network', { 'apt-get': 'echo "E: no network" >&2; exit 100' }, /E: no network/],
    [
      'sudo refuses',
      { id: 'echo 1000', sudo: 'echo "sudo: a password is required" >&2; exit 1' },
      /a password is required/,
    ],
  ])('goes on without packages, and says so, where %s', (_, stubs, words) => {
    const { status, stderr, calls } = setUp({ ...DEBIAN, ...stubs });
    expect(status).toBe(0);
    expect(stderr).toMatch(words);
    expect(stderr).toMatch(/going on without g\+\+ .*redis-server; "npx unfold doctor"/);
    expect(calls.at(-1)).toBe('npm ci --no-fund --no-audit');
  });

  it('installs the others where one package does not exist', () => {
    const apt =
      'case "$*" in *libdnnl-dev*) echo "E: Unable to locate package libdnnl-dev" >&2; exit 100;; esac';
    const { status, stderr, calls } = setUp({ ...DEBIAN, 'apt-get': apt });
    expect(status).toBe(0);
    expect(stderr).toContain('setup: libdnnl-dev could not be installed');
    expect(calls).toContain('apt-get -qq install -y --no-install-recommends redis-server');
  });

  it('needs no apt-get: macOS, Fedora', () => {
    const { status, stdout, calls } = setUp({ ...DEBIAN, 'apt-get': undefined, 'dpkg-query': undefined });
    expect(status).toBe(0);
    expect(stdout).toContain('no apt-get here');
    expect(calls).toEqual(['node --version', 'npm --version', 'npm ci --no-fund --no-audit']);
  });

  it.each([
    [
      'Node is not there',
      { node: undefined },
      /line \d+: "node --version.*" ended with exit code 127[\s\S]*fix: Unfold needs Node 20\.19/,
    ],
    [
      'npm fails',
      { npm: 'if [ "$1" = ci ]; then echo "npm error network" >&2; exit 7; fi' },
      /npm error network[\s\S]*line \d+: "npm ci .*" ended with exit code 7[\s\S]*fix: npm says above/,
    ],
  ])('says line and command, and what to do, where %s', (_, stubs, words) => {
    const { status, stderr } = setUp({ ...DEBIAN, ...stubs });
    expect(status).not.toBe(0);
    expect(stderr).toMatch(words);
  });
});
