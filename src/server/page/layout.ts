/** @file The frame around every page of ours: head, navigation, the place for messages. */
import { packageVersion } from '../../package-version.ts';
import { html, type Markup, type Piece } from '../html.ts';

/** See the fields. */
export interface Frame {
  title: string;
  /** Where the queue is, without passwords. */
  queue: string;
  readOnly: boolean;
  trouble?: string;
  body: Piece;
}

/** Pages that the navigation leads to; later ones add a line. */
const PAGES = [
  ['/', 'Flows'],
  ['/workers', 'Workers'],
  ['/disk', 'Disk'],
  ['/queues', 'Queues'],
  ['/metrics', 'Metrics'],
] as const;

/** A whole document. */
export function layout({ title, queue, readOnly, trouble, body }: Frame): Markup {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · Unfold</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/assets/page.css">
<script src="/assets/page.js" defer></script>
</head>
<body>
<a class="skip" href="#main">To the content</a>
<header class="top">
<nav aria-label="Pages"><strong>Unfold</strong>${PAGES.map(([path, name]) => html` <a href="${path}">${name}</a>`)}</nav>
<p class="where">${queue}${readOnly ? ' · read-only' : ''} · <span title="version">${packageVersion()}</span> <span id="live" class="live" role="status"></span></p>
</header>
<p id="trouble" class="trouble" role="alert"${trouble ? '' : html` hidden`}>${trouble ?? ''}</p>
<p id="message" class="message" role="status" aria-live="polite"></p>
<main id="main">
${body}
</main>
</body>
</html>
`;
}
