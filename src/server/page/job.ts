/** @file A job's page: how it stands, what it was told to do, where it came from and what it leaves, what it says. */

import type { JobView } from '../../jobs/watch/view.ts';
import { html, type Markup, type Piece } from '../html.ts';
import type { Lineage } from '../lineage.ts';
import { buttons } from './buttons.ts';
import { jobPath, progressBar } from './rows.ts';
import { sparkline } from './sparkline.ts';
import { bytesText, moment, numberText, rateText, seconds, stateBadge } from './words.ts';

/** See the fields. */
export interface JobPage {
  job: JobView;
  /** The message as it lies in Redis, for reading. */
  message: string;
  lineage: Lineage;
  readOnly: boolean;
}

/** What {@link jobFacts} and the script exchange while the job runs, and what stays. */
export function jobBody({ job, message, lineage, readOnly }: JobPage): Markup {
  return html`<p><a href="/flows/${encodeURIComponent(job.flow)}">${job.flow}</a></p>
<h1>${job.id}</h1>
<div id="job" data-job="${job.id}">${jobFacts(job, readOnly)}</div>
<h2>Log</h2>
<pre id="log" class="log" tabindex="0" aria-label="log of the job" data-log="/api/jobs/${encodeURIComponent(job.id)}/log"></pre>
<h2>From job to files</h2>
${lineageTable(lineage)}
<h2>Settings</h2>
<pre class="settings">${message}</pre>
${job.result === undefined ? '' : html`<h2>Result</h2><pre class="settings">${JSON.stringify(job.result, null, 2).slice(0, 50_000)}</pre>`}`;
}

/** What changes while it runs. */
export function jobFacts(job: JobView, readOnly: boolean): Markup {
  const { progress } = job;
  const lines: [string, Piece][] = [
    ['state', html`${stateBadge(job.state)} ${buttons(job.id, job.state, readOnly)}`],
    ['problem', job.problem],
    ['progress', html`${progressBar(job)} ${counts(job)}`],
    ['rate', rateText(job.rate, progress.unit)],
    ['time left', job.state === 'active' ? seconds(job.eta) : ''],
    ['numbers', facts(progress.facts)],
    ['loss', sparkline(progress.losses)],
    ['worker', job.worker ? `${job.worker.host}, process ${job.worker.pid} (${job.worker.id})` : ''],
    ['memory', bytesText(progress.memory?.rss_bytes)],
    ['attempts', `${job.attempts} of ${job.maxAttempts} ended; begun ${job.begun} times`],
    ['recovered', job.recovered > 0 ? `${job.recovered} times, after its worker was lost` : ''],
    [
      'queue',
      html`<a href="/queues/queue/${encodeURIComponent(job.queue)}/${encodeURIComponent(job.id)}">${job.queue}</a>${job.priority ? ` · priority ${job.priority}` : ''}`,
    ],
    ['queued', moment(job.created)],
    ['its turn', job.state === 'delayed' ? moment(job.until) : ''],
    ['began', moment(job.started)],
    [
      'ended',
      html`${moment(job.finished)} ${job.seconds === undefined ? '' : html`<span class="dim">${seconds(job.seconds)}</span>`}`,
    ],
    [
      'asked to stop',
      job.cancel ? `by ${job.cancel.by}${job.cancel.reason ? `: ${job.cancel.reason}` : ''}` : '',
    ],
    ['failed because', failure(job)],
    ['blocked by', links(job.blockedBy)],
    ['before it', links(job.children.map(({ id }) => id))],
    ['after it', links(job.parent ? [job.parent] : [])],
  ];
  return html`<dl>${lines.filter(([, value]) => text(value) !== '').map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

function text(value: Piece): string {
  return html`${value}`.text.trim();
}

function counts({ progress }: JobView): string {
  if (progress.total === undefined) return '';
  return `${(progress.done ?? 0).toLocaleString('en')} of ${progress.total.toLocaleString('en')} ${progress.unit ?? ''}`;
}

function facts(values: Record<string, number> | undefined): Piece {
  const known = Object.entries(values ?? {}).slice(0, 50);
  return known.map(([name, value]) => html`<span class="fact">${name} <b>${numberText(value)}</b></span> `);
}

function failure(job: JobView): Piece {
  const lesson = job.progress.failure;
  if (lesson && job.state !== 'completed') {
    return html`<dl class="lesson"><dt>where</dt><dd>${lesson.where}</dd><dt>expected</dt><dd>${lesson.expected}</dd><dt>found</dt><dd>${lesson.found}</dd><dt>to mend</dt><dd>${lesson.todo}</dd></dl>`;
  }
  return job.failedReason ? html`<pre class="why">${job.failedReason.slice(0, 20_000)}</pre>` : '';
}

const MOST_LINKS = 50;

function links(ids: readonly string[] | undefined): Piece {
  const shown = (ids ?? []).slice(0, MOST_LINKS).map((id) => html`<a href="${jobPath(id)}">${id}</a> `);
  const more = (ids?.length ?? 0) - shown.length;
  return more > 0 ? [...shown, `and ${more} more`] : shown;
}

function lineageTable({ folders, out }: Lineage): Markup {
  if (folders.length === 0) {
    return html`<p class="dim">${out ? html`It writes to <code class="path">${out}</code>.` : 'It names no folder.'}</p>`;
  }
  return html`<div class="scroll"><table><thead><tr><th scope="col">role</th><th scope="col">stage</th><th scope="col">folder</th><th scope="col">finished</th><th scope="col">size</th><th scope="col">job</th></tr></thead>
<tbody>${folders.map((folder) => html`<tr><td>${folder.role}</td><th scope="row">${folder.stage}</th><td><code class="path">${folder.path}</code></td><td>${folder.finished === undefined ? 'not seen from here' : folder.finished ? 'yes' : 'no'}</td><td class="number">${bytesText(folder.bytes)}</td><td>${folder.job ? html`<a href="${jobPath(folder.job)}">${folder.job}</a>` : ''}</td></tr>`)}</tbody></table></div>`;
}
