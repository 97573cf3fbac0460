/** @file What runs take on the disk. */
import type { RunDisk } from '../disk.ts';
import { html, type Markup } from '../html.ts';
import { bytesText } from './words.ts';

/** A section for each folder. */
export function diskBody(runs: readonly RunDisk[]): Markup {
  if (runs.length === 0) {
    return html`<h1>Disk</h1><p class="dim">No run lies on this machine. <code>unfold serve --runs DIR</code> names folders of runs.</p>`;
  }
  return html`<h1>Disk</h1>${runs.map((run) => section(run))}`;
}

function section(run: RunDisk): Markup {
  const space = run.total === undefined ? '' : `${bytesText(run.free)} free of ${bytesText(run.total)}`;
  if (!run.stages) {
    return html`<section><h2><code class="path">${run.path}</code></h2><p class="dim">This machine does not see it.</p></section>`;
  }
  return html`<section><h2><code class="path">${run.path}</code></h2><p>${bytesText(run.bytes)} in ${run.stages.length} stages; ${space}</p>
<div class="scroll"><table><thead><tr><th scope="col">stage</th><th scope="col">finished</th><th scope="col">files</th><th scope="col">size</th></tr></thead>
<tbody>${run.stages.map((stage) => html`<tr><th scope="row">${stage.name}</th><td>${stage.finished ? 'yes' : 'no'}</td><td class="number">${stage.files}</td><td class="number">${stage.partial ? 'more than ' : ''}${bytesText(stage.bytes)}</td></tr>`)}</tbody></table></div></section>`;
}
