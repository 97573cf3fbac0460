/**
 * @file Pictures as SVG files, drawn by ECharts without a browser. One look for all of them: white ground, thin grid, a
 * palette that colour-blind readers can tell apart (Okabe and Ito).
 */
import type { EChartsOption } from 'echarts';
import { writeFileAtomically } from '../files.ts';

export const PALETTE = [
  '#0072B2',
  '#D55E00',
  '#009E73',
  '#CC79A7',
  '#E69F00',
  '#56B4E9',
  '#8B6F00',
  '#000000',
];

/** Draws a chart; `size` in pixels. */
export async function svgOf(option: EChartsOption, size: { width: number; height: number }): Promise<string> {
  const echarts = await import('echarts');
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, ...size });
  try {
    chart.setOption({ animation: false, backgroundColor: '#ffffff', color: PALETTE, ...option });
    return renumbered(chart.renderToSVGString());
  } finally {
    // Without it a timer keeps the process alive.
    chart.dispose();
  }
}

/**
 * ECharts numbers charts and classes through the life of a process; from 0 in every picture, the same picture has the same
 * bytes wherever it was drawn.
 */
function renumbered(svg: string): string {
  const classes = new Map<string, number>();
  return svg.replace(/\bzr\d+-(cls-(\d+))?/g, (_, named?: string, number?: string) => {
    if (named === undefined) return 'zr0-';
    const known = classes.get(number!) ?? classes.size;
    classes.set(number!, known);
    return `zr0-cls-${known}`;
  });
}

/** Draws a chart into a file. */
export async function writeSvg(
  path: string,
  option: EChartsOption,
  size: { width: number; height: number },
): Promise<void> {
  await writeFileAtomically(path, await svgOf(option, size));
}
