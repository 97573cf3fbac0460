/**
 * @file What changed from one state of the queue to the next, as events for a browser's EventSource. Two dialects: JSON for
 * programs (`flow`, `job`, `gone`, `workers`, `trouble`), and HTML for our page, which puts each piece in its place.
 * A flow of ten thousand parts does not travel once a second: only its jobs that changed do.
 */
import type { FlowView, JobView } from '../jobs/watch/view.ts';
import type { State } from './feed.ts';
import type { Markup } from './html.ts';

/** One event; `data` is JSON text. */
export interface Change {
  event: string;
  data: string;
}

/** How states become events. */
export interface Dialect {
  /** Everything, for who is new. */
  whole(state: State): Change[];
  /** From `before` to `after`; nothing if nothing changed. */
  changes(before: State, after: State): Change[];
}

/** For programs. */
export const jsonDialect: Dialect = {
  whole: (state) => [
    change('snapshot', {
      at: state.at,
      flows: state.flows,
      workers: state.workers,
      trouble: state.trouble ?? null,
    }),
  ],
  changes(before, after) {
    const flows = differing(byId(before.flows), byId(after.flows), flowOnly);
    const jobs = differing(before.jobs, after.jobs, jobOnly);
    return [
      ...flows.map((flow) => change('flow', flow)),
      ...jobs.map((job) => change('job', job)),
      ...missing(byId(before.flows), byId(after.flows)).map((id) => change('gone', { flow: id })),
      ...missing(before.jobs, after.jobs).map((id) => change('gone', { job: id })),
      ...common(before, after, (state) => state.workers, 'workers'),
      ...trouble(before, after),
    ];
  },
};

/** How the page draws the pieces that it exchanges. */
export interface Pieces {
  flow(flow: FlowView): Markup;
  workers(state: State): Markup;
  summary(state: State): Markup;
}

/** For our page. `order` names all flows, so that new ones find their place and those that went leave. */
export function htmlDialect(pieces: Pieces): Dialect {
  const drawn = new WeakMap<FlowView, string>();
  const draw = (flow: FlowView) => {
    const text = drawn.get(flow) ?? pieces.flow(flow).text;
    drawn.set(flow, text);
    return text;
  };
  const order = (state: State) => state.flows.map(({ id }) => id);
  const dialect: Dialect = {
    whole: (state) => dialect.changes({ ...state, flows: [], workers: [], number: -1 }, state),
    changes(before, after) {
      const fresh = before.number === -1;
      const old = byId(before.flows);
      const changed = after.flows.filter((flow) => {
        const earlier = old.get(flow.id);
        return !earlier || (earlier !== flow && draw(earlier) !== draw(flow));
      });
      const put = (place: string, of: (state: State) => Markup) =>
        fresh || of(before).text !== of(after).text ? [change('piece', { place, html: of(after).text })] : [];
      return [
        ...changed.map((flow) => change('flow', { id: flow.id, html: draw(flow) })),
        ...(fresh || order(before).join() !== order(after).join() ? [change('order', order(after))] : []),
        ...put('workers', pieces.workers),
        ...put('summary', pieces.summary),
        ...(fresh ? [change('trouble', after.trouble ?? null)] : trouble(before, after)),
      ];
    },
  };
  return dialect;
}

function change(event: string, value: unknown): Change {
  return { event, data: JSON.stringify(value) };
}

function trouble(before: State, after: State): Change[] {
  return common(before, after, (state) => state.trouble ?? null, 'trouble');
}

function common(before: State, after: State, of: (state: State) => unknown, event: string): Change[] {
  return JSON.stringify(of(before)) === JSON.stringify(of(after)) ? [] : [change(event, of(after))];
}

function differing<T, S>(
  before: ReadonlyMap<string, T>,
  after: ReadonlyMap<string, T>,
  of: (item: T) => S,
): S[] {
  return [...after].flatMap(([id, item]) => {
    const earlier = before.get(id);
    if (earlier === item) return [];
    const shown = of(item);
    return earlier && JSON.stringify(of(earlier)) === JSON.stringify(shown) ? [] : [shown];
  });
}

function missing(before: ReadonlyMap<string, unknown>, after: ReadonlyMap<string, unknown>): string[] {
  return [...before.keys()].filter((id) => !after.has(id));
}

function byId<T extends { id: string }>(items: readonly T[]): ReadonlyMap<string, T> {
  return new Map(items.map((item) => [item.id, item]));
}

function flowOnly({ roots, ...flow }: FlowView): Omit<FlowView, 'roots'> & { roots: string[] } {
  return { ...flow, roots: roots.map(({ id }) => id) };
}

function jobOnly({ children, ...job }: JobView): Omit<JobView, 'children'> & { children: number } {
  return { ...job, children: children.length };
}
