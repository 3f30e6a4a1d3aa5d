// SPDX-License-Identifier: Apache-2.0
// The views that exist, in the order of the rail. src/ui/ui.c lists the same first segments.
import type { Key } from './i18n';

export interface View {
  path: string;
  label: Key;
  short?: Key;
  key: string; // after "g"
  icon: string;
}

export const views: View[] = [
  { path: '/', label: 'nav.overview', short: 'nav.overview.short', key: 'o', icon: 'overview' },
  { path: '/alerts', label: 'nav.alerts', key: 'a', icon: 'alerts' },
  { path: '/anomalies', label: 'nav.anomalies', key: 'n', icon: 'anomalies' },
  { path: '/services', label: 'nav.services', key: 's', icon: 'services' },
  { path: '/processes', label: 'nav.processes', key: 'p', icon: 'processes' },
  { path: '/explore', label: 'nav.explore', key: 'e', icon: 'explore' },
  { path: '/events', label: 'nav.events', key: 'v', icon: 'events' },
  { path: '/settings', label: 'nav.settings', key: 't', icon: 'settings' },
];

const legacy: Record<string, string> = {
  '/targets': '/services',
  '/service-discovery': '/services?show=dropped',
  '/rules': '/alerts',
  '/config': '/settings/config',
  '/flags': '/settings/flags',
  '/status': '/settings',
  '/tsdb-status': '/settings/storage',
};

/** Addresses of Prometheus' own interface, which notifications and bookmarks hold: the same thing here, or null. */
export function fromPrometheus(path: string, search: string): string | null {
  const clean = path.replace(/^\/(classic|new)\//, '/').replace(/(.)\/$/, '$1');
  if (clean === '/graph' || clean === '/query') return '/explore' + search;
  const to = legacy[clean];
  if (to) return to;
  return clean !== path ? clean + search : null;
}
