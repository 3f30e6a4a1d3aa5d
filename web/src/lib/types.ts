// SPDX-License-Identifier: Apache-2.0
// Shapes of doc/reference/api-hune.md and of Prometheus' HTTP API v1, as far as the page reads them.

export type Severity = 'critical' | 'warning' | 'info' | '';
export type Labels = Record<string, string>;

export interface HuneEvent {
  seq: number;
  t_ms: number;
  kind: string;
  severity: Severity;
  service: string;
  subject: string;
  actor: string;
  summary: string;
  links: Record<string, string> | null;
  payload: unknown;
}

export interface AnomalyRow {
  id: string;
  title: string;
  severity: Severity;
  status: 'open' | 'in_progress' | 'resolved' | 'closed';
  category: string;
  environment: string;
  service: string;
  components: string[];
  detection: string;
  detected_by: string;
  detected_ms: number;
  started_ms: number | null;
  resolved_ms: number | null;
  closed_ms: number | null;
  updated_ms: number;
  assignee: string;
  alert: string;
}

export interface Anomaly extends AnomalyRow {
  description: string;
  symptoms: string;
  priority: string;
  impact: string;
  root_cause: string;
  contributing: string;
  fix: string;
  checks: string;
  lessons: string;
  version: string;
  labels: Labels;
  annotations: Labels;
  expr: string;
  measures: { name: string; unit: string; points: [number, string][] }[];
  timeline: { n: number; t_ms: number; kind: string; actor: string; summary: string; text: string }[];
  phases: Record<'detection_ms' | 'decision_ms' | 'stabilisation_ms' | 'resolution_ms', number | null>;
}

export interface Indicators {
  uptime_ratio: number | null;
  mttd_ms: number | null;
  mttr_ms: number | null;
  mtbf_ms: number | null;
  period_ms?: number;
}

export interface FiringAlert {
  name: string;
  severity: Severity;
  labels: Labels;
  annotations: Labels;
  since_ms: number;
  value: string;
  anomaly: string | null;
}

export interface Overview {
  now_ms: number;
  verdict: { level: 'ok' | 'info' | 'warning' | 'critical'; since_ms: number | null; en: string; fr: string };
  alerts: { critical: number; warning: number; info: number; pending: number } | null;
  firing: FiringAlert[] | null;
  anomalies: { open: number; in_progress: number; latest: AnomalyRow[] } | null;
  targets: { up: number; down: number; unknown: number; down_list: { job: string; instance: string; error: string }[] } | null;
  processes: { online: number; stopped: number; errored: number; other: number; connected: boolean } | null;
  indicators: Indicators | null;
  events: HuneEvent[] | null;
  storage: { series: number; read_only: boolean; reason: string } | null;
}

export interface Process {
  id: number;
  name: string;
  instance: number;
  namespace: string;
  state: string;
  pid: number;
  restarts: number;
  unstable_restarts: number;
  started_ms: number | null;
  uptime_ms: number | null;
  exit_code: number | null;
  exit_signal: string | number | null;
  text: string;
  script: string;
  interpreter: string;
  cwd: string;
  cpu_ratio: number | null;
  memory_bytes: number | null;
}

export interface Series {
  metric: Labels;
  values: [number, string][];
}
export interface VectorItem {
  metric: Labels;
  value?: [number, string];
  histogram?: unknown;
}
export interface QueryData {
  resultType: 'matrix' | 'vector' | 'scalar' | 'string';
  result: unknown;
}

export interface RuleAlert {
  labels: Labels;
  annotations: Labels;
  state: string;
  activeAt: string;
  value: string;
}
export interface Rule {
  type: 'alerting' | 'recording';
  name: string;
  query: string;
  state?: 'firing' | 'pending' | 'inactive' | 'unknown';
  duration?: number;
  keepFiringFor?: number;
  labels?: Labels;
  annotations?: Labels;
  alerts?: RuleAlert[];
  health: string;
  lastError?: string;
  evaluationTime: number;
  lastEvaluation: string;
}
export interface RuleGroup {
  name: string;
  file: string;
  interval: number;
  rules: Rule[];
}

export interface Target {
  discoveredLabels: Labels;
  labels: Labels;
  scrapePool: string;
  scrapeUrl: string;
  lastError: string;
  lastScrape: string;
  lastScrapeDuration: number;
  health: 'up' | 'down' | 'unknown';
  scrapeInterval: string;
  scrapeTimeout: string;
}
