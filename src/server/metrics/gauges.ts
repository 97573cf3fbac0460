/** @file Gauges and counters for one scrape: values are set anew each time, so nothing that is gone lingers as a series. */
import { Counter, Gauge, Registry } from 'prom-client';

/** What is collected during one scrape. */
export interface Sheet {
  /** Adds a value; without a finite one, nothing. The gauge is declared even so. */
  gauge(name: string, help: string, labels?: Record<string, string>, value?: number): void;
  /** The same for totals that only grow. */
  counter(name: string, help: string, labels?: Record<string, string>, value?: number): void;
  /** The text in Prometheus's format. */
  text(): Promise<string>;
}

/** Longest value of a label: ids are shorter; garbage need not be. */
const LONGEST = 200;

/** An empty sheet. */
export function newSheet(): Sheet {
  const registry = new Registry();
  const gauges = new Map<string, Gauge>();
  const counters = new Map<string, Counter>();
  const options = (name: string, help: string, labels: Record<string, string>) => ({
    name,
    help,
    labelNames: Object.keys(labels),
    registers: [registry],
  });
  return {
    gauge(name, help, labels = {}, value) {
      const gauge = gauges.get(name) ?? new Gauge(options(name, help, labels));
      gauges.set(name, gauge);
      if (known(value)) gauge.set(short(labels), value);
    },
    counter(name, help, labels = {}, value) {
      const counter = counters.get(name) ?? new Counter(options(name, help, labels));
      counters.set(name, counter);
      if (known(value) && value >= 0) counter.inc(short(labels), value);
    },
    text: () => registry.metrics(),
  };
}

function short(labels: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, value.slice(0, LONGEST)]));
}

function known(value: number | undefined): value is number {
  return value !== undefined && Number.isFinite(value);
}
