/** @file A line of losses as SVG, small enough for a table's cell: shape, not values; those stand beside it. */
import { html, type Markup } from '../html.ts';
import { numberText } from './words.ts';

const WIDTH = 96;
const HEIGHT = 22;
const MARGIN = 1.5;

/** Empty with fewer than two finite losses. */
export function sparkline(losses: readonly number[] | undefined): Markup | string {
  const values = (losses ?? []).filter((value) => Number.isFinite(value)).slice(-200);
  if (values.length < 2) return '';
  const low = Math.min(...values);
  const high = Math.max(...values);
  const x = (index: number) => (index / (values.length - 1)) * WIDTH;
  // A constant loss is a line through the middle.
  const y = (value: number) =>
    high === low ? HEIGHT / 2 : MARGIN + (1 - (value - low) / (high - low)) * (HEIGHT - 2 * MARGIN);
  const points = values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(' ');
  const label = `loss from ${numberText(values[0])} to ${numberText(values.at(-1))}`;
  return html`<svg class="spark" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${label}"><polyline points="${points}"/></svg>`;
}
