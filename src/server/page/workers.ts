/** @file The workers that are there. */
import type { State, WorkerView } from '../feed.ts';
import { html, type Markup } from '../html.ts';
import { jobPath } from './rows.ts';
import { bytesText, moment } from './words.ts';

/** A table, or what to do if there is no worker. */
export function workersTable(state: State): Markup {
  if (state.workers.length === 0) {
    return html`<p class="dim">No worker is running; queued jobs wait. <code>unfold worker</code> starts one.</p>`;
  }
  return html`<div class="scroll"><table>
<thead><tr><th scope="col">worker</th><th scope="col">state</th><th scope="col">slots</th><th scope="col">jobs now</th><th scope="col">takes</th><th scope="col">memory</th><th scope="col">done</th><th scope="col">failed</th><th scope="col">since</th></tr></thead>
<tbody>${state.workers.map((worker) => row(worker))}</tbody>
</table></div>`;
}

function row(worker: WorkerView): Markup {
  const word = worker.lost ? 'silent' : worker.stopping ? 'stopping' : 'running';
  return html`<tr data-key="${worker.id}">
<th scope="row"><span title="${worker.id}">${worker.host}<span class="dim">:${worker.pid}</span></span></th>
<td><span class="state s-${worker.lost ? 'failed' : 'active'}">${word}</span></td>
<td class="number">${worker.jobs.length}/${worker.concurrency}</td>
<td>${worker.jobs.slice(0, 20).map((id) => html`<a href="${jobPath(id)}">${id}</a><br>`)}</td>
<td>${worker.stages.length ? worker.stages.join(', ') : 'every stage'}${worker.tags.map((tag) => html` <span class="tag">${tag}</span>`)} <span class="dim">${worker.backend}</span></td>
<td class="number">${bytesText(worker.rss_bytes)}</td>
<td class="number">${worker.completed}</td>
<td class="number">${worker.failed}</td>
<td>${moment(worker.started)} <span class="dim">${worker.unfold}</span></td>
</tr>`;
}
