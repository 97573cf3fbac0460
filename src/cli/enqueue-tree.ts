/** @file What `unfold enqueue` does once it knows the jobs: queues them, says what became of that, and waits if it is to. */
import pc from 'picocolors';
import type { ProgressBar } from '../context.ts';
import { UnfoldError } from '../errors.ts';
import { pasteable } from '../invocation.ts';
import { addJobs, type Enqueued } from '../jobs/enqueue.ts';
import { type JobTree, messagesOf } from '../jobs/flow.ts';
import { queueName } from '../jobs/names.ts';
import type { AddOptions } from '../jobs/queue-file.ts';
import type { QueueConnection } from '../jobs/redis/open.ts';
import { isWithin, resolveRoots } from '../jobs/roots.ts';
import { follow } from '../jobs/watch/follow.ts';
import { type FlowView, jobsOf } from '../jobs/watch/view.ts';
import { workers } from '../jobs/watch/workers.ts';
import { shownUrl } from '../shown-url.ts';
import type { CommandIO } from './command.ts';
import { watchJobs } from './watch-jobs.ts';

/** See the flags. */
export interface QueueTreeOptions extends AddOptions {
  wait: boolean;
  /** As given; for commands to paste. */
  url: string | undefined;
}

/** @throws UnfoldError `job-failed` if it failed before, or, waited for, fails now */
export async function queueTree(
  tree: JobTree,
  { wait, url, ...options }: QueueTreeOptions,
  connection: QueueConnection,
  io: CommandIO,
): Promise<void> {
  const enqueued = await addJobs(connection, tree, options);
  const paste = (command: string) =>
    pasteable(url && shownUrl(url) === url ? `${command} --queue '${url}'` : command);
  if (enqueued.state === 'failed before') throw failedBefore(enqueued, paste);
  io.print(words(enqueued));
  const idle = await withoutWorker(tree, connection);
  if (enqueued.state !== 'finished before') {
    const root = await rootFor(enqueued.out);
    if (idle.length > 0) io.context.warn(noWorker(idle, root, paste));
    else if (!(await isAnybodys(enqueued.out, connection))) io.context.warn(noRoot(enqueued.out, paste));
    if (!wait) io.print(pc.dim(`${paste(`unfold jobs ${enqueued.flow}`)} shows how it does`));
  }
  const waited = wait && enqueued.state !== 'finished before';
  const flow = waited ? await waitFor(enqueued.flow, connection, io) : undefined;
  if (flow) refuseFailed(flow, paste);
  else if (waited) {
    io.print(pc.dim(`the jobs go on; ${paste(`unfold jobs ${enqueued.flow}`)} shows how they do`));
    process.exitCode = 130;
  }
  const result = flow?.roots[0]?.result;
  io.emit({ ...enqueued, without_worker: idle, ...(result !== undefined && { result }) });
  if (flow) io.print(`${pc.bold(flow.id)}: done; everything is in ${flow.out}`);
}

function words({ flow, state, jobs, out }: Enqueued): string {
  if (state === 'queued') return `${pc.bold(flow)}: ${jobs} job${jobs === 1 ? '' : 's'} queued, into ${out}`;
  if (state === 'already queued') return `${pc.bold(flow)}: already queued, into ${out}; nothing was added`;
  return `${pc.bold(flow)}: finished before; everything is in ${out}`;
}

/** Queues that no living worker serves. */
async function withoutWorker(tree: JobTree, connection: QueueConnection): Promise<string[]> {
  const alive = (await workers(connection)).filter(({ stopping }) => !stopping);
  const idle = messagesOf(tree).filter(
    ({ stage, tags }) =>
      !alive.some((worker) => serves(worker, stage) && tags.every((tag) => worker.tags.includes(tag))),
  );
  return [...new Set(idle.map(({ stage, tags }) => queueName(stage, tags)))].reverse();
}

/** A worker that names no stages does all of them. */
const serves = ({ stages }: { stages: string[] }, stage: string) =>
  stages.length === 0 || stages.includes(stage);

/** What `unfold worker`, started in this folder, has to be told besides. */
async function rootFor(out: string): Promise<string> {
  const isHere = await isWithin(out, await resolveRoots(['.']));
  return isHere ? '' : ` --root '${out}'`;
}

/** True if a living worker may write there, as far as they say. */
async function isAnybodys(out: string, connection: QueueConnection): Promise<boolean> {
  for (const { roots } of await workers(connection))
    if (roots === undefined || (await isWithin(out, roots))) return true;
  return false;
}

function noRoot(out: string, paste: (command: string) => string): string {
  return `no worker that is alive may write to ${out}: the job will be refused unless one is started with ${paste(`unfold worker --root '${out}'`)}`;
}

function noWorker(queues: readonly string[], root: string, paste: (command: string) => string): string {
  const tags = [...new Set(queues.flatMap((name) => name.split('@')[1]?.split('+') ?? []))];
  const start = tags.length > 0 ? `unfold worker --tags ${tags.join(',')}` : 'unfold worker';
  return `no worker that is alive does ${queues.join(', ')}: start one with ${paste(start + root)}`;
}

/** The flow when it has ended; nothing if the person left before. */
async function waitFor(
  flow: string,
  connection: QueueConnection,
  io: CommandIO,
): Promise<FlowView | undefined> {
  if (process.stdout.isTTY && !io.json) {
    const { flows, left } = await watchJobs(connection, { flow }, { untilDone: true }, io);
    if (left) return undefined;
    return (
      flows.find(({ id }) => id === flow) ??
      (await follow(connection, [flow], () => {}, io.context.signal))[0]!
    );
  }
  const bars = new Map<string, ShownBar>();
  const [view] = await follow(connection, [flow], ([now]) => draw(now!, bars, io), io.context.signal);
  for (const { bar } of bars.values()) bar.finish();
  return view!;
}

/** A job's bar; `what` tells the parts of a job apart, each with a bar of its own: evaluate, finetune, evaluate again. */
interface ShownBar {
  bar: ProgressBar;
  what: string;
}

/** A bar, or its plain lines, for every job that says what it does. */
function draw(flow: FlowView, bars: Map<string, ShownBar>, { context }: CommandIO): void {
  for (const { id, state, progress } of jobsOf(flow)) {
    const { label = '', total, done = 0, unit = '', note, facts } = progress;
    const name = id.slice(flow.id.length + 1);
    const shown = bars.get(id);
    const isActive = state === 'active' && total !== undefined;
    const what = `${label} of ${total} ${unit}`;
    const known = isActive && shown?.what === what ? shown.bar : undefined;
    if (shown && !known) {
      shown.bar.finish(isActive ? undefined : state);
      bars.delete(id);
    }
    if (!isActive) continue;
    const bar = known ?? context.bar(label === name ? name : `${name} ${label}`.trim(), total, unit, done);
    bars.set(id, { bar, what });
    bar.update(done, note, facts);
  }
}

function refuseFailed(flow: FlowView, paste: (command: string) => string): void {
  if (flow.state === 'completed') return;
  const bad = jobsOf(flow).filter(({ state }) => state === 'failed' || state === 'cancelled');
  throw new UnfoldError('job-failed', {
    where: bad.map(({ id }) => id).join(', ') || flow.id,
    expected: 'the flow to be completed',
    found: bad.map(({ failedReason, state }) => failedReason ?? state).join('; ') || flow.state,
    todo: `${paste(`unfold jobs log ${bad[0]?.id ?? flow.id}`)} says more; once mended, ${paste(`unfold jobs retry ${flow.id}`)} goes on`,
  });
}

function failedBefore({ flow, failed }: Enqueued, paste: (command: string) => string): UnfoldError {
  return new UnfoldError('job-failed', {
    where: flow,
    expected: 'work that has not failed',
    found: `it was queued before, and ${failed.join(', ')} failed`,
    todo: `${paste(`unfold jobs show ${failed[0] ?? flow}`)} says why; ${paste(`unfold jobs retry ${flow}`)} tries it again and goes on`,
  });
}
