// Where things lie on paper: equal-area (Albers) around the clusters, a plain grid where they span the world.
const RAD = Math.PI / 180;

// Places to fit: [[lon, lat], ...]. Returns {x, y of a place, height, land path} for a drawing of this width.
function projection(places, width) {
  const lons = places.map((p) => p[0]), lats = places.map((p) => p[1]);
  const room = { west: Math.min(...lons), east: Math.max(...lons), south: Math.min(...lats), north: Math.max(...lats) };
  const pad = Math.max(2.5, 0.06 * Math.max(room.east - room.west, room.north - room.south));
  const box = { west: room.west - pad, east: room.east + pad, south: Math.max(-80, room.south - pad), north: Math.min(84, room.north + pad) };
  const middle = (box.west + box.east) / 2;
  const wide = box.east - box.west > 130 || box.north - box.south > 80;
  const flat = wide || Math.abs(box.south + box.north) < 8 ? plate(box, middle) : albers(box, middle);
  const edge = outline(box).map(([lon, lat]) => flat(lon, lat));
  const xs = edge.map((p) => p[0]), ys = edge.map((p) => p[1]);
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const height = Math.round(Math.max(0.44 * width, Math.min((width < 600 ? 1 : 0.56) * width, (width * (y1 - y0)) / (x1 - x0))));
  const scale = Math.min(width / (x1 - x0), height / (y1 - y0));
  const place = (lon, lat) => {
    const [x, y] = flat(lon, lat);
    return [width / 2 + (x - (x0 + x1) / 2) * scale, height / 2 - (y - (y0 + y1) / 2) * scale];
  };
  return { place, height, land: landPath(place, box), graticule: graticule(place, box) };
}
function plate(box, middle) {
  const squeeze = Math.cos(((box.south + box.north) / 2) * RAD);
  return (lon, lat) => [(lon - middle) * squeeze, lat];
}
// Snyder, Map Projections: A Working Manual (1987), eq. 14-1 to 14-6, on the sphere.
function albers(box, middle) {
  const sixth = (box.north - box.south) / 6;
  const [one, two] = [Math.sin((box.south + sixth) * RAD), Math.sin((box.north - sixth) * RAD)];
  const n = (one + two) / 2, c = 1 - one * one + 2 * n * one;
  const rho = (lat) => Math.sqrt(Math.max(0, c - 2 * n * Math.sin(lat * RAD))) / n;
  const zero = rho((box.south + box.north) / 2);
  return (lon, lat) => {
    const angle = n * (lon - middle) * RAD;
    return [rho(lat) * Math.sin(angle), zero - rho(lat) * Math.cos(angle)];
  };
}
// Meridians and parallels every 10 degrees, a little beyond the picture.
function graticule(place, box) {
  const parts = [];
  const span = (from, to) => Array.from({ length: 41 }, (_, k) => from + ((to - from) * k) / 40);
  const [west, east, south, north] = [box.west - 30, box.east + 30, Math.max(-85, box.south - 20), Math.min(85, box.north + 20)];
  const line = (points) => parts.push(`M${points.map(([lon, lat]) => place(lon, lat).map((v) => v.toFixed(1)).join()).join("L")}`);
  for (let lon = Math.ceil(west / 10) * 10; lon <= east; lon += 10) line(span(south, north).map((lat) => [lon, lat]));
  for (let lat = Math.ceil(south / 10) * 10; lat <= north; lat += 10) line(span(west, east).map((lon) => [lon, lat]));
  return parts.join("");
}
function outline(box) {
  const points = [];
  for (let k = 0; k <= 20; k += 1) {
    const lon = box.west + ((box.east - box.west) * k) / 20, lat = box.south + ((box.north - box.south) * k) / 20;
    points.push([lon, box.south], [lon, box.north], [box.west, lat], [box.east, lat]);
  }
  return points;
}
// Rings that touch the picture, a turn to the west or east too where the world is seen more than once.
function landPath(place, box) {
  if (!LAND) return "";
  const parts = [];
  for (const points of LAND.rings.map(unfold)) {
    const lons = points.map((p) => p[0]), lats = points.map((p) => p[1]);
    const [west, east, south, north] = [Math.min(...lons), Math.max(...lons), Math.min(...lats), Math.max(...lats)];
    if (north < box.south - 25 || south > box.north + 25) continue;
    for (const turn of [-360, 0, 360]) {
      if (east + turn < box.west - 40 || west + turn > box.east + 40) continue;
      parts.push(`M${points.map(([lon, lat]) => place(lon + turn, lat).map((v) => v.toFixed(1)).join()).join("L")}Z`);
    }
  }
  return parts.join("");
}
function unfold(ring) {
  const points = [];
  let x = 0, y = 0;
  for (let k = 0; k < ring.length; k += 2) {
    x += ring[k];
    y += ring[k + 1];
    points.push([x / LAND.per_degree, y / LAND.per_degree]);
  }
  return points;
}
