/* What Grafana itself sets up before it draws anything: theme, registries, services, words. */

import {
  createTheme,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  EventBusSrv,
  FieldColorModeId,
  identityOverrideProcessor,
  numberOverrideProcessor,
  standardEditorsRegistry,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  thresholdsOverrideProcessor,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { config, setAppEvents, setDataSourceSrv, setPluginImportUtils, setRunRequest } from '@grafana/runtime';
import { loadResources } from '@grafana/scenes';
import { from, of } from 'rxjs';
import { catchError, map } from 'rxjs/operators';

import { note } from './notes';
import { panelPlugins } from './panels';
import { Prometheus } from './prometheus';

export async function setUp(): Promise<void> {
  config.theme2 = createTheme({ colors: { mode: 'dark' } });
  registerFieldConfig();
  registerTransformers();
  setAppEvents(new EventBusSrv());
  const source = new Prometheus();
  setDataSourceSrv({
    get: async () => source,
    getInstanceSettings: () => source.instanceSettings,
    getList: () => [source.instanceSettings],
    reload: () => undefined,
  } as never);
  setRunRequest(((_: unknown, request: never) => run(source, request)) as never);
  const panels = panelPlugins();
  setPluginImportUtils({
    getPanelPluginFromCache: (id: string) => panels[id],
    importPanelPlugin: async (id: string) => panels[id],
  } as never);
  await initPluginTranslations('grafana', []);
  await initPluginTranslations('grafana-scenes', [loadResources]);
}

function run(source: Prometheus, request: never) {
  const { range } = request as { range: never };
  return from(source.ask(request)).pipe(
    map((series) => ({ state: 'Done', series, timeRange: range, request })),
    catchError((fault) => {
      note(`query: ${fault}`);
      return of({ state: 'Error', series: [], timeRange: range, errors: [{ message: `${fault}` }] });
    })
  );
}

// The editors are never opened here; what matters is how an override becomes part of a field.
function registerFieldConfig(): void {
  const kinds: Record<string, unknown> = {
    displayName: displayNameOverrideProcessor,
    unit: unitOverrideProcessor,
    min: numberOverrideProcessor,
    max: numberOverrideProcessor,
    decimals: numberOverrideProcessor,
    thresholds: thresholdsOverrideProcessor,
    mappings: valueMappingsOverrideProcessor,
    links: dataLinksOverrideProcessor,
    color: identityOverrideProcessor,
    noValue: identityOverrideProcessor,
  };
  standardFieldConfigEditorRegistry.setInit(
    () =>
      Object.entries(kinds).map(([id, process]) => ({
        id,
        path: id,
        name: id,
        editor: () => null,
        override: () => null,
        process,
        shouldApply: () => true,
        ...(id === 'color' ? { defaultValue: { mode: FieldColorModeId.Thresholds } } : {}),
      })) as never
  );
  standardEditorsRegistry.setInit(() => []);
}

function registerTransformers(): void {
  const byId = new Map(Object.values(standardTransformers).map((each) => [each.id, each]));
  standardTransformersRegistry.setInit(
    () =>
      [...byId.values()].map((transformation) => ({
        id: transformation.id,
        name: transformation.name,
        editor: () => null,
        transformation: async () => transformation,
      })) as never
  );
}
