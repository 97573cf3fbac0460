#!/usr/bin/env node
/**
 * @file Builds the native kernels with the system's C++ compiler: `npm install` runs it, `npm run build:native` forces it.
 *
 * Every file of src/tensor/native is compiled once per instruction set (x86-64: baseline, AVX2, AVX-512; elsewhere one)
 * and linked into build/native/unfold.<variant>.node; probe.node says at run time which of them this processor can load,
 * so a build that is moved to another machine still runs. No node-gyp, no Python: Node-API's headers come from npm.
 * Objects are kept under the hash of their source, headers, flags and compiler: a second run compiles nothing.
 * Everything is written beside its place and renamed: a process that runs the old build keeps it.
 *
 * UNFOLD_CXXFLAGS adds flags to every compilation and link. To look for memory errors (the runtime goes in before Node):
 *   UNFOLD_CXXFLAGS='-fsanitize=address -fno-omit-frame-pointer -g' node scripts/build-native.mjs
 *   LD_PRELOAD=$(gcc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 npx vitest run test/tensor
 *
 * It never fails an installation: build/native/build.json records what happened and `unfold doctor` repeats it.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const sources = path.join(root, 'src/tensor/native');
const out = path.join(root, 'build/native');
const objects = path.join(out, 'objects');

const common =
  '-std=c++17 -O3 -DNDEBUG -fPIC -fvisibility=hidden -fno-math-errno -fno-trapping-math -Wall -Wextra'.split(
    ' ',
  );

const extra = (process.env.UNFOLD_CXXFLAGS ?? '').split(/\s+/).filter(Boolean);

const x64 = {
  baseline: [],
  avx2: '-mavx2 -mfma -mf16c -mbmi -mbmi2'.split(' '),
  avx512:
    '-mavx2 -mfma -mf16c -mbmi -mbmi2 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512'.split(
      ' ',
    ),
};
const variants = process.arch === 'x64' ? x64 : { baseline: [] };

const sha = (...parts) => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex').slice(0, 24);
};

/** The first compiler that answers: $CXX, g++, clang++, c++. */
async function findCompiler() {
  const tried = [process.env.CXX, 'g++', 'clang++', 'c++'].filter(Boolean);
  for (const command of tried) {
    try {
      const { stdout } = await run(command, ['--version']);
      return { command, version: stdout.split('\n')[0] };
    } catch {}
  }
  throw new Error(`no C++ compiler: tried ${tried.join(', ')}`);
}

/** Whether the compiler accepts `flags` for a small program, compiled and linked. */
async function accepts(compiler, flags, program) {
  const file = path.join(out, `try-${sha(...flags)}`);
  try {
    await writeFile(`${file}.cc`, program);
    await run(compiler.command, ['-std=c++17', `${file}.cc`, ...flags, '-o', file]);
    return true;
  } catch {
    return false;
  } finally {
    await rm(file, { force: true });
    await rm(`${file}.cc`, { force: true });
  }
}

const openmpProgram = '#include <omp.h>\nint main() { return omp_get_max_threads() > 0 ? 0 : 1; }\n';

/** Writes `to` from `make(temporary)` in one step, so that a broken-off build leaves no half a file. */
async function whole(to, make) {
  const temporary = `${to}.${process.pid}.tmp`;
  try {
    await make(temporary);
    await rename(temporary, to);
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Runs jobs on as many processes as there are processors. */
async function inParallel(jobs) {
  const queue = [...jobs];
  const worker = async () => {
    for (let job = queue.shift(); job; job = queue.shift()) {
      try {
        await job();
      } catch (error) {
        queue.length = 0; // the first failure ends the build
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, os.availableParallelism()) }, worker));
}

/** What is compiled, what is linked from it, each with the hash of all that goes into it. */
async function plan(compiler) {
  const names = (await readdir(sources)).sort();
  const texts = new Map();
  for (const name of names) {
    if (/\.(cc|h)$/.test(name)) texts.set(name, await readFile(path.join(sources, name), 'utf8'));
  }
  const headers = names.filter((name) => name.endsWith('.h')).map((name) => texts.get(name));
  const include = createRequire(import.meta.url)('node-api-headers').include_dir;
  const openmp = await accepts(compiler, ['-fopenmp'], openmpProgram);
  const shared = [...common, ...(openmp ? ['-fopenmp'] : []), '-DNAPI_VERSION=8', `-I${include}`, ...extra];
  const link = [
    ...(process.platform === 'darwin'
      ? ['-bundle', '-undefined', 'dynamic_lookup']
      : ['-shared', '-ldl', '-pthread']),
    ...(openmp ? ['-fopenmp'] : []),
    ...extra,
  ];
  const identity = [compiler.version, process.arch, process.platform];
  const unit = (name, flags) => {
    const object = path.join(objects, `${name}.${sha(...identity, ...flags, texts.get(name), ...headers)}.o`);
    return { name, object, args: [...flags, '-c', path.join(sources, name)] };
  };
  const target = (file, units) => ({
    file: path.join(out, file),
    units,
    link,
    hash: sha(...link, ...units.map((u) => u.object)),
  });
  const kernels = names.filter((name) => name.endsWith('.cc') && name !== 'probe.cc');
  const targets = Object.entries(variants).map(([variant, flags]) => {
    const all = [...shared, ...flags, `-DUNFOLD_VARIANT="${variant}"`];
    return target(
      `unfold.${variant}.node`,
      kernels.map((name) => unit(name, all)),
    );
  });
  targets.push(
    target(
      'probe.node',
      ['probe.cc', 'cores.cc'].map((name) => unit(name, shared)),
    ),
  );
  return { targets, openmp };
}

/** Objects lie under the hash of what was read before: an edit meanwhile would pass for them for ever. */
async function assertUnchanged(compiler, targets, compiled) {
  const { targets: now } = await plan(compiler);
  const hashes = (list) => list.map((t) => t.hash).join();
  if (hashes(now) === hashes(targets)) return;
  for (const { object } of compiled) await rm(object, { force: true });
  throw new Error('a source changed while it was compiled: run the build again');
}

async function build(force, say) {
  await mkdir(objects, { recursive: true });
  const compiler = await findCompiler();
  const { targets, openmp } = await plan(compiler);
  const units = new Map(targets.flatMap((t) => t.units.map((u) => [u.object, u])));
  const stale = [...units.values()].filter((u) => force || !existsSync(u.object));
  const hashes = JSON.parse(await readFile(path.join(out, 'linked.json'), 'utf8').catch(() => '{}'));
  const unlinked = targets.filter((t) => force || hashes[t.file] !== t.hash || !existsSync(t.file));
  if (stale.length > 0)
    say(`unfold: compiling the native kernels (${stale.length} files, ${compiler.version})`);
  let warnings = '';
  await inParallel(
    stale.map(
      (u) => () =>
        whole(u.object, async (temporary) => {
          const { stderr } = await run(compiler.command, [...u.args, '-o', temporary], {
            maxBuffer: 1 << 26,
          });
          warnings += stderr;
        }),
    ),
  );
  if (stale.length > 0) await assertUnchanged(compiler, targets, stale);
  await inParallel(
    unlinked.map(
      (t) => () =>
        whole(t.file, (temporary) =>
          run(compiler.command, ['-o', temporary, ...t.units.map((u) => u.object), ...t.link], {
            maxBuffer: 1 << 26,
          }),
        ),
    ),
  );
  await writeFile(
    path.join(out, 'linked.json'),
    JSON.stringify(Object.fromEntries(targets.map((t) => [t.file, t.hash]))),
  );
  await sweep(units);
  return {
    ok: true,
    compiler: compiler.version,
    openmp,
    compiled: stale.length,
    variants: Object.keys(variants),
    warnings,
  };
}

/** Removes objects that no target uses any more. */
async function sweep(units) {
  for (const name of await readdir(objects)) {
    if (!units.has(path.join(objects, name))) await rm(path.join(objects, name), { force: true });
  }
}

function explain(error) {
  const mend =
    process.platform === 'darwin'
      ? 'xcode-select --install'
      : 'apt-get install g++ libopenblas-dev libdnnl-dev';
  const reason = String(error.stderr || error.message)
    .trim()
    .split('\n')
    .slice(0, 3)
    .join(' | ');
  process.stderr.write(
    `unfold: the native kernels were not built (${reason}): every op runs on slower backends (wasm, cpu), 10 to 100 times slower.\n` +
      `unfold: to mend it: ${mend} && npm run build:native   (details: build/native/build.json)\n`,
  );
  return {
    ok: false,
    reason,
    log: String(error.stderr || error.stack),
    mend: `${mend} && npm run build:native`,
  };
}

const strict = process.argv.includes('--force');
const started = Date.now();
const result = await build(strict, (line) => process.stderr.write(`${line}\n`)).catch(explain);
const { warnings = '', ...record } = result;
if (strict && warnings) process.stderr.write(warnings);
try {
  await mkdir(out, { recursive: true });
  await writeFile(
    path.join(out, 'build.json'),
    `${JSON.stringify({ ...record, seconds: (Date.now() - started) / 1000 }, null, 2)}\n`,
  );
} catch {}
// An installation goes on without kernels; whoever asked for them by name hears that they are not there.
if (!record.ok && strict) process.exitCode = 1;
