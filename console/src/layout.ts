// Layered layout of a job graph: a vertex stands one layer after the last of its inputs; within a layer, near the middle of
// its inputs. Job graphs have tens of vertices, so two sweeps are enough. Pure.
import type { Vertex } from "./model";

export interface Placed {
  vertex: Vertex;
  layer: number;
  row: number;
}

export interface GraphLayout {
  nodes: Placed[];
  layers: number;
  rows: number;
}

export function layoutGraph(vertices: readonly Vertex[]): GraphLayout {
  const byId = new Map(vertices.map((vertex) => [vertex.id, vertex]));
  const layerOf = new Map<string, number>();
  const depth = (vertex: Vertex, trail: ReadonlySet<string>): number => {
    const known = layerOf.get(vertex.id);
    if (known !== undefined) return known;
    let layer = 0;
    for (const id of vertex.inputs) {
      const input = byId.get(id);
      if (input && !trail.has(id)) layer = Math.max(layer, depth(input, new Set([...trail, vertex.id])) + 1);
    }
    layerOf.set(vertex.id, layer);
    return layer;
  };
  const layers: Vertex[][] = [];
  for (const vertex of vertices) (layers[depth(vertex, new Set())] ??= []).push(vertex);
  const rowOf = new Map<string, number>();
  const rows = Math.max(0, ...layers.map((layer) => layer.length));
  for (const layer of layers) {
    const wish = (vertex: Vertex): number => {
      const places = vertex.inputs.map((id) => rowOf.get(id)).filter((row) => row !== undefined);
      return places.length ? places.reduce((a, b) => a + b, 0) / places.length : 0;
    };
    const sorted = [...layer].sort((a, b) => wish(a) - wish(b));
    const offset = (rows - layer.length) / 2;
    sorted.forEach((vertex, index) => rowOf.set(vertex.id, index + offset));
  }
  const nodes = vertices.map((vertex) => ({ vertex, layer: layerOf.get(vertex.id) ?? 0, row: rowOf.get(vertex.id) ?? 0 }));
  return { nodes, layers: layers.length, rows };
}
