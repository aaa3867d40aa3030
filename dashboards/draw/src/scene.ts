/* Turns the JSON of a board into a scene. */

import { DataLink, PanelModel } from '@grafana/data';
import {
  DataSourceVariable,
  EmbeddedScene,
  QueryVariable,
  SceneDataTransformer,
  SceneGridItem,
  SceneGridLayout,
  SceneGridRow,
  SceneQueryRunner,
  SceneTimeRange,
  SceneVariable,
  SceneVariableSet,
  TextBoxVariable,
  VariableValueSelectors,
  VizPanel,
} from '@grafana/scenes';

type Place = { x: number; y: number; w: number; h: number };
type Panel = PanelModel & { gridPos: Place; links?: DataLink[]; interval?: string };
type Variable = {
  type: string;
  name: string;
  label?: string;
  query: string;
  hide?: number;
  allValue?: string;
};
export type Board = {
  title: string;
  uid: string;
  panels: Panel[];
  templating: { list: Variable[] };
};

export function sceneOf(board: Board, from: string, to: string): EmbeddedScene {
  return new EmbeddedScene({
    $timeRange: new SceneTimeRange({ from, to, timeZone: 'utc' }),
    $variables: new SceneVariableSet({ variables: board.templating.list.map(variable) }),
    controls: [new VariableValueSelectors({})],
    body: new SceneGridLayout({ isLazy: false, children: rows(board.panels) }),
  });
}

function variable(each: Variable): SceneVariable {
  const shared = { name: each.name, label: each.label, hide: each.hide as never };
  switch (each.type) {
    case 'datasource':
      return new DataSourceVariable({ ...shared, pluginId: 'prometheus' });
    case 'textbox':
      return new TextBoxVariable({ ...shared, value: each.query });
    default:
      return new QueryVariable({
        ...shared,
        datasource: { uid: 'prometheus', type: 'prometheus' },
        query: each.query,
        isMulti: true,
        includeAll: true,
        allValue: each.allValue,
        value: '$__all',
        text: 'All',
      });
  }
}

function rows(panels: Panel[]): SceneGridRow[] {
  const found: Array<{ row: Panel; children: SceneGridItem[] }> = [];
  for (const panel of panels) {
    if (panel.type === 'row') {
      found.push({ row: panel, children: [] });
    } else {
      found.at(-1)!.children.push(item(panel));
    }
  }
  return found.map(
    ({ row, children }) =>
      new SceneGridRow({ y: row.gridPos.y, title: row.title, isCollapsible: false, children })
  );
}

function item(panel: Panel): SceneGridItem {
  const { x, y, w, h } = panel.gridPos;
  const runner = new SceneQueryRunner({
    datasource: { uid: 'prometheus', type: 'prometheus' },
    queries: panel.targets as never,
    maxDataPoints: 220,
  });
  return new SceneGridItem({
    x,
    y,
    width: w,
    height: h,
    body: new VizPanel({
      key: `panel-${panel.id}`,
      pluginId: panel.type,
      title: panel.title ?? '',
      description: panel.description,
      options: panel.options as never,
      fieldConfig: panel.fieldConfig as never,
      $data: panel.transformations?.length
        ? new SceneDataTransformer({ $data: runner, transformations: panel.transformations as never })
        : runner,
    }),
  });
}
