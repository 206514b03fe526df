// Local time of the run: its fixed offset, whatever the clock of the reader's machine says.
const MINUTE = 60000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const local = (ms) => new Date(ms + D.offset_min * MINUTE);
const two = (value) => String(value).padStart(2, "0");
const clock = (ms) => `${two(local(ms).getUTCHours())}:${two(local(ms).getUTCMinutes())}`;
const day = (ms) => `${local(ms).getUTCDate()} ${MONTHS[local(ms).getUTCMonth()]}`;
const stamp = (ms) => `${day(ms)} ${clock(ms)}`;

// Steps that are round in local time; midnight shows the date instead of the hour.
function timeTicks(from, to, most) {
  const sizes = [5, 10, 15, 30, 60, 120, 180, 240, 360, 720].map((m) => m * MINUTE)
    .concat([1, 2, 5, 7, 14, 28, 56, 112, 365].map((d) => d * DAY));
  const size = sizes.find((step) => (to - from) / step <= most) ?? sizes.at(-1);
  const shift = D.offset_min * MINUTE;
  const ticks = [];
  for (let t = Math.ceil((from + shift) / size) * size - shift; t <= to; t += size) ticks.push(t);
  return ticks;
}
const tickLabel = (ms) => ((ms + D.offset_min * MINUTE) % DAY === 0 ? day(ms) : clock(ms));
