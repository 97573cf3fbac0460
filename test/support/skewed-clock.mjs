/**
 * @file A machine whose time of day is wrong: `NODE_OPTIONS=--import FILE` and UNFOLD_TEST_CLOCK_AHEAD, milliseconds (negative:
 * behind), in a process and its children. Dates are off; what no one sets stays true, as on such a machine: performance.now,
 * hrtime, timers. Times of files stay true too, as those of a shared file system would. Plain JavaScript, since it is loaded
 * before anything that knows TypeScript.
 */
const ahead = Number(process.env.UNFOLD_TEST_CLOCK_AHEAD ?? 0);
const True = Date;
const now = () => Date.trueNow() + ahead;

Object.defineProperty(True, 'trueNow', { value: True.now });
True.now = now;
globalThis.Date = new Proxy(True, {
  construct: (target, given, caller) => Reflect.construct(target, given.length > 0 ? given : [now()], caller),
  apply: () => new Date().toString(),
});
True.prototype.constructor = globalThis.Date;
Object.defineProperty(performance, 'timeOrigin', { value: performance.timeOrigin + ahead });
