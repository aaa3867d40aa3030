/* A data source over Prometheus' HTTP API, as much of one as our boards ask for. */

import { DataFrame, DataSourceApi, FieldType, ScopedVars, TimeRange } from '@grafana/data';
import { sceneGraph, SceneObject } from '@grafana/scenes';
import { from } from 'rxjs';

import { notes } from './notes';

type Target = { refId: string; expr: string; legendFormat?: string; instant?: boolean; format?: string };
type Request = { targets: Target[]; range: TimeRange; intervalMs: number; scopedVars: ScopedVars };
type Series = { metric: Record<string, string>; values?: Sample[]; value?: Sample };
type Sample = [number, string];

const SCRAPE_S = Number(new URLSearchParams(location.search).get('scrape') ?? 5);

export class Prometheus extends DataSourceApi {
  instanceSettings = {
    id: 1,
    uid: 'prometheus',
    name: 'Prometheus',
    type: 'prometheus',
    meta: { id: 'prometheus', info: { logos: { small: '' } } },
    jsonData: {},
  } as never;

  constructor() {
    super({ id: 1, uid: 'prometheus', name: 'Prometheus', type: 'prometheus', meta: {} } as never);
  }

  query(request: never) {
    return from(this.ask(request).then((data) => ({ data }))) as never;
  }

  testDatasource() {
    return Promise.resolve({}) as never;
  }

  async ask(request: never): Promise<DataFrame[]> {
    const { targets, range, intervalMs, scopedVars } = request as Request;
    const step = Math.max(1, Math.round(intervalMs / 1000));
    const found = await Promise.all(
      targets.map(async (target) => {
        const expr = fill(target.expr, step, scopedVars);
        notes.queries.push(expr);
        const series = target.instant
          ? await get<Series>('query', { query: expr, time: range.to.unix() })
          : await get<Series>('query_range', {
              query: expr,
              start: range.from.unix(),
              end: range.to.unix(),
              step,
            });
        return frames(target, series, range, step, targets.length);
      })
    );
    return found.flat();
  }

  async metricFindQuery(query: never, options?: { scopedVars?: ScopedVars; range?: TimeRange }) {
    const text = typeof query === 'string' ? query : (query as { query: string }).query;
    const [, series, label] = /^label_values\((.+), (\w+)\)$/.exec(text) ?? [];
    const found = await get<Record<string, string>>('series', {
      'match[]': fill(series, SCRAPE_S, options?.scopedVars ?? {}),
      start: options?.range?.from.unix() ?? 0,
      end: options?.range?.to.unix() ?? Date.now() / 1000,
    });
    return [...new Set(found.map((each) => each[label]))].sort().map((value) => ({ text: value }));
  }
}

function fill(expr: string, step: number, scopedVars: ScopedVars): string {
  const rate = Math.max(step + SCRAPE_S, 4 * SCRAPE_S);
  const own = { __interval: `${step}s`, __rate_interval: `${rate}s` };
  const text = expr.replace(/\$(__\w+)/g, (whole, name: string) => own[name as never] ?? whole);
  const scene = (scopedVars.__sceneObject as { value?: { valueOf(): SceneObject } })?.value?.valueOf();
  return scene ? sceneGraph.interpolate(scene, text, scopedVars, asPattern) : text;
}

function asPattern(value: unknown): string {
  const escaped = [value].flat().map((each) => `${each}`.replace(/[\\^$*+?.()|[\]{}]/g, '\\\\$&'));
  return escaped.length > 1 ? `(${escaped.join('|')})` : escaped[0];
}

async function get<T>(path: string, parameters: Record<string, string | number>): Promise<T[]> {
  const query = new URLSearchParams(Object.entries(parameters).map(([name, at]) => [name, `${at}`]));
  const answer = await (await fetch(`/prom/api/v1/${path}?${query}`)).json();
  if (answer.status !== 'success') {
    throw new Error(`${answer.error}: ${query}`);
  }
  return path === 'series' ? answer.data : resultsOf(answer.data);
}

function resultsOf<T>(data: { resultType: string; result: unknown }): T[] {
  return (data.resultType === 'scalar' ? [{ metric: {}, value: data.result }] : data.result) as T[];
}

function frames(target: Target, series: Series[], range: TimeRange, step: number, targets: number): DataFrame[] {
  if (target.format === 'table') {
    return series.length ? [table(target, series, targets)] : [];
  }
  if (target.format === 'heatmap') {
    return series.length ? [heatmap(target, series, range, step)] : [];
  }
  return series.map((each) => {
    const name = legend(target, each.metric);
    const { times, values } = aligned(each, range, step);
    return frame(target, name, [
      field('Time', FieldType.time, times),
      { ...field('Value', FieldType.number, values), labels: each.metric, config: { displayNameFromDS: name } },
    ]);
  });
}

/* Every step has a value or a gap: a series that was not there is not drawn through. */
function aligned(series: Series, range: TimeRange, step: number) {
  if (series.value) {
    return { times: [series.value[0] * 1000], values: [number(series.value[1])] };
  }
  const at = new Map((series.values ?? []).map(([time, value]) => [time, number(value)]));
  const times: number[] = [];
  for (let time = range.from.unix(); time <= range.to.unix(); time += step) {
    times.push(time * 1000);
  }
  return { times, values: times.map((time) => at.get(time / 1000) ?? null) };
}

function number(text: string): number {
  return text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text);
}

function legend(target: Target, metric: Record<string, string>): string {
  const format = target.legendFormat;
  if (format) {
    return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label: string) => metric[label] ?? '').trim();
  }
  return Object.keys(metric).length ? JSON.stringify(metric) : target.expr;
}

function table(target: Target, series: Series[], targets: number): DataFrame {
  const labels = [...new Set(series.flatMap((each) => Object.keys(each.metric)))].sort();
  const name = targets > 1 ? `Value #${target.refId}` : 'Value';
  return frame(target, '', [
    field('Time', FieldType.time, series.map((each) => each.value![0] * 1000)),
    ...labels.map((label) => field(label, FieldType.string, series.map((each) => each.metric[label]))),
    field(name, FieldType.number, series.map((each) => number(each.value![1]))),
  ]);
}

/* One field a bucket, from low to high, each without the ones below: as Grafana's heat map takes it. */
function heatmap(target: Target, series: Series[], range: TimeRange, step: number): DataFrame {
  const sorted = [...series].sort((a, b) => number(a.metric.le) - number(b.metric.le));
  const columns = sorted.map((each) => aligned(each, range, step));
  return frame(target, '', [
    field('Time', FieldType.time, columns[0].times),
    ...columns.map(({ values }, place) => ({
      ...field(sorted[place].metric.le, FieldType.number, values.map((value, at) =>
        value === null ? null : Math.max(0, value - (place ? (columns[place - 1].values[at] ?? 0) : 0)))),
    })),
  ]);
}

function field(name: string, type: FieldType, values: unknown[]) {
  return { name, type, values, config: {} };
}

function frame(target: Target, name: string, fields: unknown[]): DataFrame {
  const length = (fields[0] as { values: unknown[] }).values.length;
  return { refId: target.refId, name, fields, length, meta: {} } as DataFrame;
}
