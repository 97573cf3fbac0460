/** @file Puts jobs together to flows: the tree, what blocks whom, how much is done and how long the rest may take. */
import { queueKey } from './read.ts';
import { type FlowView, type JobState, type JobView, jobsOf } from './view.ts';

/** A job, and where its parent is. */
export interface Linked {
  view: JobView;
  parent: { queue: string; id: string } | undefined;
}

/** Ids of failed jobs that a blocked one names. */
const BLOCKERS = 10;

/** Names in their order, numbers in them by value: shards-9 before shards-10. */
const byName = new Intl.Collator('en', { numeric: true }).compare;

/** All flows, newest first. `now`: Redis's clock. */
export function flowsOf(jobs: readonly Linked[], now: number): FlowView[] {
  const roots = new Map<string, JobView[]>();
  for (const root of growTrees(jobs)) {
    const known = roots.get(root.flow);
    if (known) known.push(root);
    else roots.set(root.flow, [root]);
  }
  return [...roots]
    .map(([id, list]) => flowView(id, list, now))
    .sort((a, b) => b.created - a.created || byName(a.id, b.id));
}

/** Hangs every job below its parent; returns those that have none. */
function growTrees(jobs: readonly Linked[]): JobView[] {
  const byKey = new Map(jobs.map((job) => [queueKey(job.view.queue, job.view.id), job]));
  const above = (job: Linked) => {
    const parent = job.parent && byKey.get(queueKey(job.parent.queue, job.parent.id));
    return parent && parent.view.flow === job.view.flow ? parent : undefined;
  };
  const roots: JobView[] = [];
  for (const job of jobs) {
    const parent = above(job);
    if (parent && !circular(job, above)) parent.view.children.push(job.view);
    else roots.push(job.view);
  }
  for (const { view } of jobs) view.children.sort(inOrder);
  return roots.sort(inOrder);
}

/** Levels of a flow: stages, parts. */
const MOST_ANCESTORS = 50;

/** True if a job is its own ancestor, or has more of them than any flow: only garbage does. */
function circular(job: Linked, above: (job: Linked) => Linked | undefined): boolean {
  const seen = new Set<Linked>();
  for (let at: Linked | undefined = job; at; at = above(at)) {
    if (seen.has(at) || seen.size > MOST_ANCESTORS) return true;
    seen.add(at);
  }
  return false;
}

/** Earlier stages before parts, then by age and name. */
function inOrder(a: JobView, b: JobView): number {
  const parts = Number(a.part !== undefined) - Number(b.part !== undefined);
  if (parts !== 0) return parts;
  if (a.part !== undefined && b.part !== undefined) return byName(a.part, b.part);
  return a.created - b.created || byName(a.id, b.id);
}

function flowView(id: string, roots: JobView[], now: number): FlowView {
  const out = roots.find((root) => root.out !== undefined)?.out;
  const flow: FlowView = { id, state: 'waiting', share: 0, created: 0, counts: {}, roots };
  const jobs = jobsOf(flow);
  for (const job of jobs) judge(job);
  for (const { state } of jobs) flow.counts[state] = (flow.counts[state] ?? 0) + 1;
  flow.state = flowState(flow.counts, roots);
  flow.created = extremes(jobs, 'created')[0] ?? 0;
  const over = flow.state === 'completed' || flow.state === 'failed' || flow.state === 'cancelled';
  const [started] = extremes(jobs, 'started');
  const [, finished] = extremes(jobs, 'finished');
  if (started !== undefined) flow.started = started;
  if (over && finished !== undefined) flow.finished = finished;
  if (started !== undefined) {
    flow.seconds = Math.max(0, ((over ? (finished ?? started) : now) - started) / 1000);
  }
  const stages = jobs.filter(({ part }) => part === undefined);
  const worked = stages.length > 1 ? stages.filter(({ stage }) => stage !== 'pipeline') : stages;
  const shares = (worked.length ? worked : jobs).map(({ share }) => share);
  flow.share = flow.state === 'completed' ? 1 : mean(shares);
  const eta = over ? undefined : totalEta(worked);
  if (eta !== undefined) flow.eta = eta;
  if (out !== undefined) flow.out = out;
  return flow;
}

/** What a job is by its children, who have been judged before it. */
function judge(job: JobView): void {
  const blockers = job.children.flatMap((child) =>
    child.state === 'failed' || child.state === 'cancelled' ? [child.id] : (child.blockedBy ?? []),
  );
  if (job.state === 'waits' && blockers.length > 0) {
    job.state = 'blocked';
    job.blockedBy = [...new Set(blockers)].slice(0, BLOCKERS);
  }
  const parts = job.children.filter(({ part }) => part !== undefined);
  if (parts.length === 0) return;
  timeWithParts(job, parts);
  if (job.state === 'completed') return;
  job.share = mean(parts.map(({ share }) => share));
  if (job.state === 'waits') Object.assign(job, rateOfParts(parts));
}

/** A stage that was shared out began with its first part; its own record begins when the parts are put together. */
function timeWithParts(job: JobView, parts: readonly JobView[]): void {
  const [began] = extremes([job, ...parts], 'started');
  if (began === undefined) return;
  job.started = began;
  if (job.finished !== undefined) job.seconds = Math.max(0, (job.finished - began) / 1000);
}

/** Rate and time left of work that is shared out: the parts that run, and the pace of those that are done. */
function rateOfParts(parts: readonly JobView[]): { rate?: number; eta?: number } {
  const running = parts.filter(({ state }) => state === 'active');
  const rates = running.flatMap(({ rate }) => (rate === undefined ? [] : [rate]));
  const paces = parts.flatMap(({ state, seconds }) => (state === 'completed' && seconds ? [seconds] : []));
  const etas = running.flatMap(({ eta }) => (eta === undefined ? [] : [eta]));
  const left = parts.reduce((sum, { share }) => sum + 1 - share, 0);
  const byPace = paces.length && running.length ? [(left * mean(paces)) / running.length] : [];
  const known =
    byPace.length > 0 || running.length === parts.filter(({ state }) => state !== 'completed').length;
  return {
    ...(rates.length && { rate: rates.reduce((sum, rate) => sum + rate, 0) }),
    ...(known &&
      etas.length + byPace.length > 0 && { eta: [...etas, ...byPace].reduce((a, b) => Math.max(a, b)) }),
  };
}

/** Seconds until all stages are done; undefined as long as one cannot be estimated. */
function totalEta(stages: readonly JobView[]): number | undefined {
  let total = 0;
  for (const { state, eta } of stages) {
    if (state === 'completed') continue;
    if (eta === undefined) return undefined;
    total += eta;
  }
  return total;
}

function flowState(counts: FlowView['counts'], roots: readonly JobView[]): FlowView['state'] {
  if (roots.every(({ state }) => state === 'completed')) return 'completed';
  const order = [
    'active',
    'waiting',
    'delayed',
    'paused',
    'failed',
    'cancelled',
  ] as const satisfies JobState[];
  return order.find((state) => counts[state]) ?? 'waiting';
}

/** Smallest and largest known value; none if none is known. */
function extremes(
  jobs: readonly JobView[],
  field: 'created' | 'started' | 'finished',
): [least?: number, most?: number] {
  let range: [least?: number, most?: number] = [];
  for (const { [field]: value } of jobs) {
    if (value === undefined) continue;
    range = [Math.min(range[0] ?? value, value), Math.max(range[1] ?? value, value)];
  }
  return range;
}

function mean(values: readonly number[]): number {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
}
