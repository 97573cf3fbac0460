/**
 * @file Keeps our pages up to date. The server draws every piece; this script puts what changed in its place, without
 * disturbing what the reader has focused, selected, opened or scrolled. Without it the pages work, too: reload them.
 */
const $ = (selector) => document.querySelector(selector);

/** Makes `old` like `fresh`, touching only what differs; rows and flows are told apart by data-key. */
function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) return;
  morphAttributes(old, fresh);
  const keyed = new Map();
  for (const child of old.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
  let at = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const known = child.dataset?.key ? keyed.get(child.dataset.key) : undefined;
    if (known && known !== at) old.insertBefore(known, at);
    const mine = known ?? at;
    if (!mine || (!known && mine.dataset?.key && keyed.has(mine.dataset.key))) {
      old.insertBefore(child, at);
      continue;
    }
    at = mine.nextSibling;
    morph(mine, child);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function morphAttributes(old, fresh) {
  for (const { name, value } of fresh.attributes) {
    // What the reader opened or closed stays so; times are rewritten for the reader's zone.
    if (name === 'open' || (name === 'title' && old.nodeName === 'TIME')) continue;
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (name !== 'open' && name !== 'disabled' && !fresh.hasAttribute(name) && old.nodeName !== 'TIME') {
      old.removeAttribute(name);
    }
  }
}

function parse(text) {
  const template = document.createElement('template');
  template.innerHTML = text;
  localTimes(template.content);
  return template.content;
}

/** Times in the reader's zone and manner. */
function localTimes(root) {
  for (const time of root.querySelectorAll('time[datetime]')) {
    const date = new Date(time.getAttribute('datetime'));
    if (Number.isNaN(date.getTime())) continue;
    time.title = time.getAttribute('datetime');
    time.textContent = date.toLocaleString();
  }
}

function putFlow(list, { id, html }) {
  const fresh = parse(html).firstElementChild;
  const old = [...list.children].find((child) => child.dataset.flow === id);
  if (old) morph(old, fresh);
  else list.prepend(fresh);
}

function putOrder(list, ids) {
  const known = new Map([...list.children].map((child) => [child.dataset.flow, child]));
  for (const [id, child] of known) if (!ids.includes(id)) child.remove();
  let at = list.firstElementChild;
  for (const id of ids) {
    const child = known.get(id);
    if (!child) continue;
    if (child === at) at = at.nextElementSibling;
    else list.insertBefore(child, at);
  }
  $('#none').hidden = ids.length > 0;
}

function putPiece({ place, html }) {
  const old = $(`[data-place="${place}"]`);
  if (!old) return;
  const fresh = old.cloneNode(false);
  fresh.append(parse(html));
  morph(old, fresh);
}

function showTrouble(reason) {
  const place = $('#trouble');
  place.hidden = !reason;
  place.textContent = reason ? `${reason}. What is shown is what was known before.` : '';
}

function showLive(on) {
  const place = $('#live');
  place.classList.toggle('on', on);
  place.textContent = on ? 'live' : 'not connected';
}

function say(text) {
  $('#message').textContent = text;
}

/** The page of flows, and that of workers. */
function follow() {
  const source = new EventSource('/api/events?as=html');
  const list = $('#flows');
  const on = (name, act) => source.addEventListener(name, (event) => act(JSON.parse(event.data)));
  source.onopen = () => showLive(true);
  source.onerror = () => showLive(false);
  if (list) {
    on('flow', (piece) => putFlow(list, piece));
    on('order', (ids) => putOrder(list, ids));
  }
  on('piece', putPiece);
  on('trouble', showTrouble);
  addEventListener('pagehide', () => source.close());
}

/** Calls `act` once a second while the page is looked at, and not again before it has ended. */
function everySecond(act) {
  const turn = async () => {
    try {
      if (!document.hidden) await act();
      showLive(true);
      showTrouble('');
    } catch (error) {
      showLive(false);
      showTrouble(error.message);
    }
    setTimeout(turn, 1000);
  };
  turn();
}

async function get(path) {
  const answer = await fetch(path, { headers: { Accept: 'application/json' } });
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({ error: answer.statusText }));
  throw new Error(typeof error === 'string' ? error : error.found);
}

async function refresh(place) {
  const query = new URLSearchParams(location.search);
  query.set('part', '1');
  const answer = await get(`${location.pathname}?${query}`);
  const fresh = place.cloneNode(false);
  fresh.append(parse(await answer.text()));
  morph(place, fresh);
}

/** Adds the log's new lines, and keeps its end in sight if it was. */
function followLog(place) {
  let next;
  return async () => {
    const query = new URLSearchParams(location.search);
    if (next !== undefined) query.set('after', next);
    const log = await (await get(`${place.dataset.log}?${query}`)).json();
    const atEnd = place.scrollTop + place.clientHeight >= place.scrollHeight - 8;
    if (next !== undefined && log.next < next) place.textContent = '';
    if (log.lines.length) place.append(`${log.lines.join('\n')}\n`);
    next = log.next;
    if (atEnd) place.scrollTop = place.scrollHeight;
  };
}

/** Buttons are forms; with this script they neither leave the page nor do anything unasked. */
addEventListener('submit', async (event) => {
  const form = event.target;
  if (!form.matches('form.action')) return;
  event.preventDefault();
  if (form.dataset.ask && !confirm(form.dataset.ask)) return;
  const button = form.querySelector('button');
  button.disabled = true;
  try {
    const answer = await fetch(form.action, { method: 'POST', headers: { Accept: 'application/json' } });
    const result = await answer.json();
    say(answer.ok ? summary(result) : `That did not work: ${result.error?.found ?? result.error}`);
  } catch (error) {
    say(`That did not work: ${error.message}`);
  } finally {
    setTimeout(() => (button.disabled = false), 1000);
  }
});

/** `{cancelled: ['a'], asked: []}` → `cancelled: a`. */
function summary(result) {
  const words = Object.entries(result).map(([name, value]) => {
    const items = Array.isArray(value) ? value.map((item) => item.id ?? item) : [value];
    return items.length ? `${name}: ${items.slice(0, 5).join(', ')}${items.length > 5 ? ' …' : ''}` : '';
  });
  return words.filter(Boolean).join('; ') || 'nothing to do';
}

localTimes(document);
if ($('[data-live]')) follow();
const whole = $('[data-refresh]');
if (whole) everySecond(() => refresh(whole));
const job = $('#job');
if (job) {
  const log = followLog($('#log'));
  everySecond(async () => {
    await Promise.all([refresh(job), log()]);
  });
}
