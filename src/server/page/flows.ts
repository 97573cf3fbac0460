/** @file Flows as tables: a stage per row, in the order in which they run, its parts indented below it. */
import { type FlowView, type JobState, type JobView, jobsOf } from '../../jobs/watch/view.ts';
import type { State } from '../feed.ts';
import { html, type Markup } from '../html.ts';
import { button, flowButtons } from './buttons.ts';
import { HEADS, jobRow } from './rows.ts';
import { countsText, moment, seconds, stateBadge } from './words.ts';

/** Rows of parts under one stage; the rest is counted. On a flow's own page there may be more. */
const FEW = 12;
const MANY = 500;

/** What is worth a row first when not all have one. */
const URGENT: readonly JobState[] = [
  'failed',
  'blocked',
  'cancelled',
  'active',
  'delayed',
  'paused',
  'waiting',
  'waits',
  'completed',
];

/** One flow; `full` on its own page. */
export function flowArticle(flow: FlowView, readOnly: boolean, full = false): Markup {
  const open = full || flow.state !== 'completed';
  const percent = Math.floor(100 * Math.min(1, Math.max(0, flow.share || 0)));
  return html`<article class="flow" data-flow="${flow.id}" data-key="${flow.id}">
<details${open ? html` open` : ''}>
<summary><h2><a href="/flows/${encodeURIComponent(flow.id)}">${flow.id}</a></h2> ${stateBadge(flow.state)}
<progress max="100" value="${percent}" aria-label="progress of ${flow.id}">${percent}%</progress> <span class="number">${percent}%</span>
<span class="dim">${timing(flow)}</span> <span class="dim counts">${countsText(flow.counts)}</span></summary>
<div class="bar"><span class="dim">queued ${moment(flow.created)}</span> ${flow.out ? html`<code class="path">${flow.out}</code>` : ''} ${flowButtons(flow.id, flow.state, readOnly)}</div>
<div class="scroll"><table>
<thead><tr>${HEADS.map((head) => html`<th scope="col">${head || html`<span class="hidden">actions</span>`}</th>`)}</tr></thead>
<tbody>${rows(flow, readOnly, full ? MANY : FEW)}</tbody>
</table></div>
</details>
</article>`;
}

/** All flows. */
export function flowList(flows: readonly FlowView[], readOnly: boolean): Markup {
  return html`<div id="flows">${flows.map((flow) => flowArticle(flow, readOnly))}</div>
<p id="none" class="dim"${flows.length > 0 ? html` hidden` : ''}>Nothing is queued. For example: <code>unfold enqueue pipelines/quickstart.yaml</code>, and <code>unfold worker</code> to have it done.</p>`;
}

/** Above the flows: how many of each kind, and the switch for all queues. */
export function summary(state: State): Markup {
  const counts: Partial<Record<JobState, number>> = {};
  for (const flow of state.flows) {
    for (const [name, count] of Object.entries(flow.counts) as [JobState, number][]) {
      counts[name] = (counts[name] ?? 0) + count;
    }
  }
  const alive = state.workers.filter(({ lost }) => !lost);
  const slots = alive.reduce((sum, { concurrency }) => sum + concurrency, 0);
  const busy = alive.reduce((sum, { jobs }) => sum + jobs.length, 0);
  const plural = (count: number, word: string) => `${count} ${word}${count === 1 ? '' : 's'}`;
  return html`${plural(state.flows.length, 'flow')}; jobs: ${countsText(counts) || 'none'}; ${plural(alive.length, 'worker')}, ${busy} of ${plural(slots, 'slot')} busy`;
}

/** Pause and resume. */
export function queueButtons(readOnly: boolean): Markup | string {
  if (readOnly) return '';
  return html`<div class="actions">${button('/api/queues/pause', 'pause', 'pause all queues: running jobs go on')}${button('/api/queues/resume', 'resume', 'resume all queues')}</div>`;
}

function rows(flow: FlowView, readOnly: boolean, most: number): Markup[] {
  return jobsOf(flow)
    .filter((job) => job.part === undefined)
    .flatMap((stage) => {
      const parts = stage.children.filter(({ part }) => part !== undefined);
      const shown = mostUrgent(parts, most);
      return [
        jobRow(stage, 0, readOnly),
        ...shown.map((part) => jobRow(part, 1, readOnly)),
        ...rest(flow, parts, shown),
      ];
    });
}

/** At most so many, in their order; those that need eyes before those that are done. */
function mostUrgent(parts: readonly JobView[], most: number): JobView[] {
  if (parts.length <= most) return [...parts];
  const ranked = [...parts].sort((a, b) => URGENT.indexOf(a.state) - URGENT.indexOf(b.state));
  const chosen = new Set(ranked.slice(0, most));
  return parts.filter((part) => chosen.has(part));
}

function rest(flow: FlowView, parts: readonly JobView[], shown: readonly JobView[]): Markup[] {
  if (parts.length === shown.length) return [];
  const left = new Set(parts);
  for (const part of shown) left.delete(part);
  const counts: Partial<Record<JobState, number>> = {};
  for (const { state } of left) counts[state] = (counts[state] ?? 0) + 1;
  return [
    html`<tr class="depth-1"><td colspan="${HEADS.length}" class="dim">and ${left.size.toLocaleString('en')} more: ${countsText(counts)} (<a href="/flows/${encodeURIComponent(flow.id)}">all</a>)</td></tr>`,
  ];
}

function timing(flow: FlowView): string {
  if (flow.state === 'active' && flow.eta !== undefined) return `${seconds(flow.eta)} left`;
  if (flow.state === 'completed') return `took ${seconds(flow.seconds)}`;
  return flow.seconds === undefined ? '' : `for ${seconds(flow.seconds)}`;
}
