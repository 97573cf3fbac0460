/** @file A job as a row of a flow's table. */
import type { JobView } from '../../jobs/watch/view.ts';
import { html, type Markup } from '../html.ts';
import { buttons } from './buttons.ts';
import { sparkline } from './sparkline.ts';
import { numberText, rateText, seconds, stateBadge } from './words.ts';

/** Heads of {@link jobRow}'s cells. */
export const HEADS = ['job', 'state', 'progress', 'rate', 'left', 'loss', 'worker', 'tries', ''] as const;

/** One row; `depth` 1 for the parts of a stage. */
export function jobRow(job: JobView, depth: number, readOnly: boolean): Markup {
  return html`<tr class="depth-${depth}" data-key="${job.id}">
<th scope="row"><a href="${jobPath(job.id)}" title="${job.id}">${job.part ?? job.stage}</a>${tagList(job)}</th>
<td>${stateBadge(job.state)}${reason(job)}</td>
<td>${progressBar(job)}</td>
<td class="number">${rateText(job.rate, job.progress.unit)}</td>
<td class="number">${job.state === 'active' ? seconds(job.eta) : seconds(job.seconds)}</td>
<td>${loss(job)}</td>
<td>${job.worker ? html`<span title="${job.worker.id}">${job.worker.host}<span class="dim">:${job.worker.pid}</span></span>${job.worker.lost ? html` <span class="why">silent</span>` : ''}` : ''}</td>
<td class="number">${tries(job)}</td>
<td class="act">${buttons(job.id, job.state, readOnly)}</td>
</tr>`;
}

/** Where a job's page is. */
export function jobPath(id: string): string {
  return `/jobs/${encodeURIComponent(id)}`;
}

/** Share, counts and note of a job. */
export function progressBar(job: Pick<JobView, 'share' | 'progress' | 'stage' | 'part'>): Markup {
  const percent = Math.floor(100 * clamp(job.share));
  const { note } = job.progress;
  return html`<progress max="100" value="${percent}" aria-label="progress of ${job.part ?? job.stage}">${percent}%</progress> <span class="number">${percent}%</span>${note ? html` <span class="dim note">${note.slice(0, 120)}</span>` : ''}`;
}

/** Why a job does not go on, in a few words; the whole text is on its page. */
export function reason(job: JobView): Markup | string {
  const text =
    job.problem ??
    (job.state === 'blocked'
      ? `by ${(job.blockedBy ?? []).slice(0, 3).map(shortId).join(', ')}`
      : (job.cancel && job.state !== 'completed' && `stopped by ${job.cancel.by}`) ||
        (job.state === 'failed' || job.state === 'delayed' || job.state === 'cancelled'
          ? job.failedReason
          : undefined));
  if (!text) return '';
  const line = text.split('\n')[0]!.slice(0, 160);
  return html`<br><span class="why" title="${text.slice(0, 2000)}">${line}</span>`;
}

function shortId(id: string): string {
  return id.split('.').slice(1).join('.') || id;
}

function tagList(job: JobView): Markup | string {
  return job.tags.length === 0 ? '' : html` <span class="tag">${job.tags.join(' ')}</span>`;
}

function loss(job: JobView): Markup {
  const value = job.progress.facts?.loss ?? job.progress.losses?.at(-1);
  return html`${sparkline(job.progress.losses)} <span class="number">${numberText(value)}</span>`;
}

/** `2/3`, and what happened beside: recovered from a lost worker. */
function tries(job: JobView): Markup | string {
  const counted = job.attempts > 1 || (job.attempts > 0 && job.state !== 'completed');
  const times = counted ? `${job.attempts}/${job.maxAttempts}` : '';
  if (job.recovered === 0) return times;
  return html`${times} <span class="recovered" title="its worker was lost; another took over">↻${job.recovered}</span>`;
}

function clamp(share: number): number {
  return Number.isFinite(share) ? Math.min(1, Math.max(0, share)) : 0;
}
