// Server-sent events: the console says that something has changed. A hidden tab holds no stream.

let source = null;
let listener = null;
let ended = null;

const mark = document.getElementById("live");

function show(alive) {
  mark.hidden = false;
  mark.classList.toggle("lost", !alive);
  mark.textContent = alive ? mark.dataset.live : mark.dataset.lost;
}

function open() {
  if (source || document.hidden || !listener) return;
  source = new EventSource("/api/events");
  source.addEventListener("open", () => show(true));
  source.addEventListener("overview", () => listener());
  source.addEventListener("error", () => {
    show(false);
    if (source && source.readyState === EventSource.CLOSED) {
      close();
      ended(); // the answer was an error: perhaps the session has ended
    }
  });
}

function close() {
  source?.close();
  source = null;
}

export function follow(onChange, onEnd) {
  listener = onChange;
  ended = onEnd;
  open();
}

export function stop() {
  listener = null;
  mark.hidden = true;
  close();
}

document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
addEventListener("pagehide", close);
