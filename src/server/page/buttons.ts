/** @file Buttons that change something: forms, so that they work without the script, too. */
import type { JobState } from '../../jobs/watch/view.ts';
import { html, type Markup } from '../html.ts';

const STOPPABLE = new Set<JobState>(['waiting', 'paused', 'delayed', 'active', 'waits', 'blocked']);
const AGAIN = new Set<JobState>(['failed', 'cancelled']);

/** Cancel or retry, whichever fits the job's state. */
export function buttons(id: string, state: JobState, readOnly: boolean): Markup | string {
  if (readOnly) return '';
  const path = `/api/jobs/${encodeURIComponent(id)}`;
  if (STOPPABLE.has(state)) return button(`${path}/cancel`, 'cancel', `cancel ${id}`, true);
  if (AGAIN.has(state)) return button(`${path}/retry`, 'retry', `retry ${id}`);
  return '';
}

/** The same for all of a flow. */
export function flowButtons(id: string, state: JobState, readOnly: boolean): Markup | string {
  if (readOnly) return '';
  const path = `/api/flows/${encodeURIComponent(id)}`;
  const stop = STOPPABLE.has(state)
    ? button(`${path}/cancel`, 'cancel all', `cancel all of ${id}`, true)
    : '';
  const again = AGAIN.has(state) ? button(`${path}/retry`, 'retry', `retry what failed in ${id}`) : '';
  return html`${stop}${again}`;
}

/** One button; `ask`: the script asks first. */
export function button(path: string, text: string, label: string, ask = false): Markup {
  return html`<form method="post" action="${path}" class="action"${ask ? html` data-ask="${label}?"` : ''}><button aria-label="${label}">${text}</button></form>`;
}
