/* The kinds of panel our boards have. Grafana publishes what draws them, not the panels: these pass
   on what the boards set. Heat map and state timeline are not published at all; see drawings.tsx. */

import {
  DataFrame,
  FieldConfigEditorBuilder,
  FieldDisplay,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  PanelPlugin,
  PanelProps,
  VizOrientation,
} from '@grafana/data';
import { config } from '@grafana/runtime';
import { BarGauge, BigValue, Table, TimeSeries, VizRepeater } from '@grafana/ui';
import { ComponentType } from 'react';

import { Heatmap, StateTimeline } from './drawings';
import { notes } from './notes';

type Props = PanelProps<Record<string, never>>;

/* Every part of `custom` that a board may set or override. */
const CUSTOM: Record<string, unknown> = {
  axisBorderShow: false,
  barAlignment: 0,
  cellOptions: { type: 'auto' },
  align: 'auto',
  axisSoftMax: undefined,
  drawStyle: 'line',
  fillOpacity: 0,
  gradientMode: 'none',
  hideFrom: { legend: false, tooltip: false, viz: false },
  lineInterpolation: 'linear',
  lineStyle: { fill: 'solid' },
  lineWidth: 1,
  minWidth: undefined,
  scaleDistribution: { type: 'linear' },
  showPoints: 'never',
  spanNulls: false,
  stacking: { mode: 'none', group: 'A' },
  thresholdsStyle: { mode: 'off' },
  width: undefined,
};

export function panelPlugins(): Record<string, PanelPlugin> {
  const kinds: Record<string, ComponentType<Props>> = {
    bargauge: Bars,
    heatmap: Heatmap as never,
    stat: Tiles,
    'state-timeline': StateTimeline as never,
    table: Sheet,
    timeseries: Chart,
  };
  return Object.fromEntries(
    Object.entries(kinds).map(([id, component]) => {
      const panel = new PanelPlugin(id === 'stat' ? component : orEmpty(component));
      panel.meta = { id, name: id, info: {} } as never;
      return [id, panel.useFieldConfig({ useCustomConfig: custom as never })];
    })
  );
}

function custom(builder: FieldConfigEditorBuilder<Record<string, unknown>>): void {
  for (const [path, defaultValue] of Object.entries(CUSTOM)) {
    builder.addCustomEditor({
      id: path,
      path,
      name: path,
      defaultValue,
      editor: () => null,
      override: () => null,
      process: (value: unknown) => value,
      shouldApply: () => true,
    } as never);
  }
}

/* Say so where there is nothing; `draw.mjs` fails where that was not foreseen. */
function orEmpty(Panel: ComponentType<Props>): ComponentType<Props> {
  return function Shown(props: Props) {
    if (props.data.series.some((frame) => frame.length > 0)) {
      return <Panel {...props} />;
    }
    const text = props.fieldConfig.defaults.noValue ?? 'No data';
    if (text === 'No data') {
      notes.empty.push(props.title);
    }
    const style = { display: 'grid', placeItems: 'center', height: '100%', color: config.theme2.colors.text.secondary };
    return <div style={style}>{text}</div>;
  };
}

function Chart({ data, width, height, options, timeRange }: Props) {
  return (
    <TimeSeries
      frames={data.series}
      structureRev={data.structureRev}
      width={width}
      height={height}
      timeRange={timeRange}
      timeZone="utc"
      legend={options.legend}
      options={options}
    />
  );
}

function values({ data, fieldConfig, options, replaceVariables }: Props, sparkline: boolean) {
  const found = getFieldDisplayValues({
    fieldConfig,
    reduceOptions: options.reduceOptions,
    replaceVariables,
    theme: config.theme2,
    data: data.series,
    timeZone: 'utc',
    sparkline,
  });
  return found.filter((each) => each.display.text !== '' || found.length === 1);
}

function Tiles(props: Props) {
  const { width, height, options, title, fieldConfig, data } = props;
  if (!data.series.length && fieldConfig.defaults.noValue === undefined) {
    notes.empty.push(title);
  }
  return (
    <VizRepeater
      getValues={() => values(props, options.graphMode !== 'none')}
      renderValue={({ value, width, height, count }) => (
        <BigValue
          value={{ ...value.display, title: options.textMode === 'value' ? undefined : value.display.title }}
          count={count}
          sparkline={value.sparkline}
          width={width}
          height={height}
          theme={config.theme2}
          colorMode={options.colorMode}
          graphMode={options.graphMode}
          justifyMode={options.justifyMode}
          textMode={options.textMode}
          text={options.text}
        />
      )}
      source={props.data}
      width={width}
      height={height}
      itemSpacing={3}
      renderCounter={props.renderCounter}
      autoGrid
      orientation={VizOrientation.Auto}
    />
  );
}

function Bars(props: Props) {
  const { width, height, options } = props;
  return (
    <VizRepeater
      getValues={() => values(props, false)}
      getAlignmentFactors={(all) => getDisplayValueAlignmentFactors(all)}
      renderValue={({ value, width, height, orientation, alignmentFactors }) => (
        <BarGauge
          value={value.display}
          field={(value as FieldDisplay).field}
          display={(value as FieldDisplay).view?.getFieldDisplayProcessor((value as FieldDisplay).colIndex!)}
          width={width}
          height={height}
          orientation={orientation}
          theme={config.theme2}
          itemSpacing={8}
          lcdCellWidth={12}
          displayMode={options.displayMode}
          alignmentFactors={alignmentFactors}
          showUnfilled={options.showUnfilled}
          valueDisplayMode={options.valueMode}
          namePlacement={options.namePlacement}
          text={options.text}
        />
      )}
      source={props.data}
      width={width}
      height={height}
      itemSpacing={8}
      minVizHeight={options.minVizHeight ?? 16}
      renderCounter={props.renderCounter}
      orientation={VizOrientation.Horizontal}
    />
  );
}

function Sheet({ data, width, height, options, timeRange, fieldConfig }: Props) {
  const frame: DataFrame = data.series[0];
  return (
    <Table
      data={frame}
      width={width}
      height={height}
      timeRange={timeRange}
      cellHeight={options.cellHeight}
      columnMinWidth={(fieldConfig.defaults.custom as { minWidth?: number } | undefined)?.minWidth}
      initialSortBy={options.sortBy}
      enableSharedCrosshair={false}
    />
  );
}
