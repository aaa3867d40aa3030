/* Heat map and state timeline, drawn by ourselves after Grafana's: it publishes neither. */

import { DataFrame, dateTimeFormat, Field, getFieldDisplayName, getValueFormat, PanelProps, TimeRange } from '@grafana/data';
import { config } from '@grafana/runtime';
import { ReactNode } from 'react';

type Props = PanelProps<{
  color: { scheme: string; exponent: number };
  yAxis: { unit?: string };
  filterValues?: { le?: number };
}>;

const [ABOVE, BELOW] = [8, 22];
const STEPS_S = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400];
const SCHEMES: Record<string, [number, number, number]> = {
  Blues: [87, 148, 242],
  Oranges: [255, 152, 48],
};

export function Heatmap({ data, width, height, options, timeRange }: Props) {
  const [time, ...rows] = data.series[0].fields;
  const left = 52;
  const [inner, deep] = [width - left - 8, height - BELOW - 6];
  const at = scale(timeRange, left, inner);
  const row = (deep - ABOVE) / rows.length;
  const least = options.filterValues?.le ?? 0;
  const most = Math.max(...rows.flatMap((each) => each.values.filter((value) => value !== null)), 1e-9);
  const cell = (at(time.values[1] ?? 0) - at(time.values[0])) || inner;
  return (
    <svg width={width} height={height}>
      {rows.flatMap((each, index) =>
        each.values.map((value: number | null, place: number) =>
          value === null || value <= least ? null : (
            <rect
              key={`${index} ${place}`}
              x={Math.max(left, at(time.values[place]) - cell)}
              y={deep - (index + 1) * row + 0.5}
              width={cell < 6 ? cell + 0.3 : cell - 1}
              height={Math.max(1, row - 1)}
              fill={shade(options.color.scheme, (value / most) ** options.color.exponent)}
            />
          )
        )
      )}
      {rows.map((each, index) =>
        row < 11 && index % 2 ? null : (
          <Text key={each.name} x={left - 6} y={deep - (index + 1) * row + 4} anchor="end">
            {bucket(each.name, options.yAxis.unit)}
          </Text>
        )
      )}
      <Ticks range={timeRange} at={at} inner={inner} y={height - 6} />
    </svg>
  );
}

export function StateTimeline({ data, width, height, timeRange }: Props) {
  const rows = data.series.map((frame) => states(frame, data.series));
  const left = Math.min(width / 3, 18 + 7 * Math.max(...rows.map((row) => row.name.length)));
  const [inner, deep] = [width - left - 8, height - BELOW - 6];
  const at = scale(timeRange, left, inner);
  const row = deep / rows.length;
  const thick = Math.min(row * 0.8, 40);
  return (
    <svg width={width} height={height}>
      {rows.map(({ name, field, spans }, index) => {
        const y = index * row + (row - thick) / 2;
        return (
          <g key={name}>
            <Text x={left - 8} y={y + thick / 2 + 4} anchor="end">
              {name}
            </Text>
            {spans.map(({ value, from, to }) => {
              const shown = field.display!(value);
              const [x, wide] = [at(from), at(to) - at(from)];
              return (
                <g key={from}>
                  <rect x={x} y={y} width={Math.max(1.5, wide)} height={thick} fill={shown.color} fillOpacity={0.8} />
                  {wide > shown.text.length * 7 + 8 && thick > 12 ? (
                    <Text x={x + 6} y={y + thick / 2 + 4} fill="#fff">
                      {shown.text}
                    </Text>
                  ) : null}
                </g>
              );
            })}
          </g>
        );
      })}
      <Ticks range={timeRange} at={at} inner={inner} y={height - 6} />
    </svg>
  );
}

/* Join steps of one value into spans; a gap longer than the board bridges ends a span. */
function states(frame: DataFrame, all: DataFrame[]) {
  const [time, field] = frame.fields as [Field, Field];
  const bridged = (field.config.custom as { spanNulls?: number } | undefined)?.spanNulls || 0;
  const step = (time.values[1] ?? 0) - time.values[0];
  const spans: Array<{ value: number; from: number; to: number }> = [];
  field.values.forEach((value, place) => {
    const [at, last] = [time.values[place], spans.at(-1)];
    if (value === null) {
      return;
    }
    if (last && last.value === value && last.to + bridged >= at) {
      last.to = at + step;
    } else {
      spans.push({ value, from: at, to: at + step });
    }
  });
  return { name: getFieldDisplayName(field, frame, all), field, spans };
}

function scale(range: TimeRange, left: number, inner: number) {
  const [from, to] = [range.from.valueOf(), range.to.valueOf()];
  return (time: number) => left + (Math.min(Math.max(time, from), to) - from) * (inner / (to - from));
}

function Ticks({ range, at, inner, y }: { range: TimeRange; at: (time: number) => number; inner: number; y: number }) {
  const [from, to] = [range.from.valueOf(), range.to.valueOf()];
  const step = 1000 * (STEPS_S.find((each) => (inner * each * 1000) / (to - from) > 75) ?? 86_400);
  const times: number[] = [];
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) {
    times.push(time);
  }
  const format = step < 60_000 ? 'HH:mm:ss' : step < 86_400_000 ? 'HH:mm' : 'MM/DD';
  return times.map((time) => (
    <Text key={time} x={at(time)} y={y} anchor="middle">
      {dateTimeFormat(time, { timeZone: 'utc', format })}
    </Text>
  ));
}

function Text(props: { x: number; y: number; anchor?: 'end' | 'middle'; fill?: string; children: ReactNode }) {
  const fill = props.fill ?? config.theme2.colors.text.primary;
  return (
    <text x={props.x} y={props.y} textAnchor={props.anchor} fill={fill} fontSize={12}>
      {props.children}
    </text>
  );
}

function bucket(name: string, unit: string | undefined): string {
  if (unit === 'short') {
    return `${Number(name)}`;
  }
  const { text, suffix } = getValueFormat(unit)(Number(name));
  return `${text}${suffix ?? ''}`;
}

function shade(scheme: string, share: number): string {
  const [red, green, blue] = SCHEMES[scheme] ?? SCHEMES.Blues;
  return `rgba(${red}, ${green}, ${blue}, ${0.06 + 0.94 * share})`;
}
