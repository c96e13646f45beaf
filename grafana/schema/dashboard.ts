// What a dashboard of this repository may be: Grafana's own types, with the options of the panels that are used here in the
// places where Grafana's leaves any object. `generate.sh` makes dashboard.schema.json of it, which the tests read.

import type {
  Dashboard,
  DataSourceRef,
  FieldConfig,
  MatcherConfig,
  Panel,
  RowPanel,
} from "@grafana/schema/dist/types/raw/dashboard/x/types.gen";
import type { Options as BarGauge } from "@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/types.gen";
import type {
  FieldConfig as HeatmapField,
  Options as Heatmap,
} from "@grafana/schema/dist/types/raw/composable/heatmap/panelcfg/x/types.gen";
import type { Options as Stat } from "@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen";
import type {
  FieldConfig as StateTimelineField,
  Options as StateTimeline,
} from "@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/types.gen";
import type {
  FieldConfig as TableField,
  Options as Table,
} from "@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen";
import type {
  FieldConfig as TimeSeriesField,
  Options as TimeSeries,
} from "@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen";

// A query to Prometheus, as far as it is used.
interface Target {
  refId: string;
  datasource: DataSourceRef;
  editorMode: "code";
  expr: string;
  legendFormat: string;
  format: "time_series" | "table" | "heatmap";
  instant: boolean;
  range: boolean;
}

type Field<Custom> = Omit<FieldConfig, "custom"> & { custom?: Custom };

type PanelOf<Type extends string, Options, Custom> = Omit<Panel, "type" | "options" | "fieldConfig" | "targets"> & {
  type: Type;
  options: Options;
  targets: Target[];
  fieldConfig: {
    defaults: Field<Custom>;
    overrides: { matcher: MatcherConfig; properties: { id: string; value?: unknown }[] }[];
  };
};

type None = Record<string, never>;

export type DashboardFile = Omit<Dashboard, "panels"> & {
  panels: (
    | RowPanel
    | PanelOf<"timeseries", TimeSeries, TimeSeriesField>
    | PanelOf<"stat", Stat, None>
    | PanelOf<"bargauge", BarGauge, None>
    | PanelOf<"table", Table, TableField>
    | PanelOf<"heatmap", Heatmap, HeatmapField>
    | PanelOf<"state-timeline", StateTimeline, StateTimelineField>
  )[];
};
