import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { type LrSchedule, learningRate, warmUpShare } from '../../src/train/schedule.ts';

interface Recorded {
  lr: {
    name: LrSchedule['lr_scheduler_name'];
    lr: number;
    lr_end: number;
    training_steps: number;
    warm_up_steps: number;
    decay_steps: number;
    n_restart_cycles: number;
    lr_used_at_step: number[];
  }[];
  coefficient: { warm_up_steps: number; final_value: number; value_used_at_step: number[] }[];
}
const recorded = JSON.parse(
  await readFile(new URL('../fixtures/coders/schedules.json', import.meta.url), 'utf8'),
) as Recorded;

describe('schedules', () => {
  it.each(recorded.lr)(
    '$name, $training_steps steps, warm-up $warm_up_steps, decay $decay_steps: the rates of SAELens',
    (run) => {
      const schedule: LrSchedule = {
        lr_scheduler_name: run.name,
        lr: run.lr,
        lr_end: run.lr_end,
        lr_warm_up_steps: run.warm_up_steps,
        lr_decay_steps: run.decay_steps,
        n_restart_cycles: run.n_restart_cycles,
      };
      run.lr_used_at_step.forEach((expected, t) => {
        // PyTorch multiplies its way from step to step: its rounding adds up to about 1e-15.
        expect(learningRate(schedule, t, run.training_steps), `step ${t}`).toBeCloseTo(expected, 12);
      });
    },
  );

  it.each(recorded.coefficient)('a coefficient warms up over $warm_up_steps steps as in SAELens', (run) => {
    run.value_used_at_step.forEach((expected, t) => {
      expect(run.final_value * warmUpShare(t, run.warm_up_steps), `step ${t}`).toBeCloseTo(expected, 12);
    });
  });
});
