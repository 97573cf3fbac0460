import { expect, it } from 'vitest';
import { svgOf } from '../../src/draw/chart.ts';

it('the same picture has the same bytes, whatever the process drew before', async () => {
  const lines = (n: number) => ({
    xAxis: {},
    yAxis: {},
    series: Array.from({ length: n }, (_, i) => ({
      type: 'line' as const,
      data: [[i, 1] as const, [2, i] as const],
    })),
  });
  const size = { width: 300, height: 200 };
  const first = await svgOf(lines(2) as never, size);
  await svgOf(lines(5) as never, size);
  expect(await svgOf(lines(2) as never, size)).toBe(first);
  expect(first).toContain('zr0-cls-0');
});
