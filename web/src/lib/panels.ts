// SPDX-License-Identifier: Apache-2.0
// The host's graphs: node_exporter's names, so they are the same whether hune or node_exporter collects them.
import type { Unit } from './format';
import type { Key } from './i18n';

export interface PanelQuery {
  expr: string; // $i: the window of rates
  name?: Key; // fixed name
  label?: string; // or the value of this label
  negate?: boolean;
}
export interface Panel {
  id: string;
  title: Key;
  unit: Unit;
  max?: number;
  queries: PanelQuery[];
}

const DISK = 'device!~"loop.*|ram.*|zram.*|dm-.*|sr.*|fd.*"';
const NET = 'device!~"lo|veth.*|docker.*|br-.*|virbr.*|cali.*|tap.*"';

export const host: Panel[] = [
  { id: 'cpu', title: 'panel.cpu', unit: 'ratio', queries: [{ expr: 'avg(1 - rate(node_cpu_seconds_total{mode="idle"}[$i]))', name: 'panel.cpu.used' }] },
  {
    id: 'memory',
    title: 'panel.memory',
    unit: 'ratio',
    queries: [{ expr: '1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes', name: 'panel.memory.used' }],
  },
  { id: 'load', title: 'panel.load', unit: 'none', queries: [{ expr: 'node_load1', name: 'panel.load.1' }, { expr: 'node_load5', name: 'panel.load.5' }, { expr: 'node_load15', name: 'panel.load.15' }] },
  {
    id: 'network',
    title: 'panel.network',
    unit: 'bytesps',
    queries: [
      { expr: `sum(rate(node_network_receive_bytes_total{${NET}}[$i]))`, name: 'panel.network.in' },
      { expr: `sum(rate(node_network_transmit_bytes_total{${NET}}[$i]))`, name: 'panel.network.out' },
    ],
  },
  {
    id: 'disk',
    title: 'panel.disk',
    unit: 'bytesps',
    queries: [
      { expr: `sum(rate(node_disk_read_bytes_total{${DISK}}[$i]))`, name: 'panel.disk.read' },
      { expr: `sum(rate(node_disk_written_bytes_total{${DISK}}[$i]))`, name: 'panel.disk.write' },
    ],
  },
  {
    id: 'space',
    title: 'panel.space',
    unit: 'ratio',
    max: 1,
    queries: [{ expr: 'max by (mountpoint) (1 - node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|overlay|squashfs|devtmpfs|iso9660"} / node_filesystem_size_bytes)', label: 'mountpoint' }],
  },
];
