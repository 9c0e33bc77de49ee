// What the other files share: a socket that comes back, and subscriptions that go on where they were.
import { createClient } from 'graphql-ws';
import WebSocket from 'ws'; // In a browser leave this and `webSocketImpl` out.

/** Where the streams are now: read it before your lists, and follow from it. */
export async function position(url, key) {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify({ query: '{ streamPosition }' }),
  });
  return (await answer.json()).data.streamPosition;
}

/** Before the attempt that comes after so many: up to half a minute, not everybody at once. */
export function pause(attempts) {
  const most = Math.min(500 * 2 ** attempts, 30_000);
  return new Promise((wake) => setTimeout(wake, most * (0.5 + Math.random() / 2)));
}

/** A socket that comes back, whatever happened to it, unless the key is no longer good. */
export function connect(url, key) {
  let unanswered;
  const client = createClient({
    url: url.replace(/^http/, 'ws'),
    webSocketImpl: WebSocket,
    connectionParams: { authorization: `Bearer ${key}` },
    retryAttempts: Infinity,
    retryWait: pause,
    shouldRetry: (problem) => problem.code !== 4403,
    keepAlive: 5_000,
    on: {
      ping(received) {
        if (!received) unanswered = setTimeout(() => client.terminate(), 5_000);
      },
      pong(received) {
        if (received) clearTimeout(unanswered);
      },
      closed: () => clearTimeout(unanswered),
    },
  });
  return client;
}

/** The same client, whose subscriptions go on behind the last message, whatever their documents say. */
export function resuming(client) {
  function subscribe(payload, sink) {
    // This object is sent anew on each connection: what it says by then is where the stream goes on.
    const extensions = { ...payload.extensions };
    let [stop, timer, wait] = [() => {}, undefined, undefined];

    /** Whether the stream is to be asked for again: the process stops, or has no room now. Notes when, and from where. */
    function movesOn(errors) {
      const all = [errors ?? []].flat().map((error) => error?.extensions ?? {});
      const notice = all.find(({ code, retryAfter }) => code === 'GOING_AWAY' || retryAfter);
      if (!notice) return false;
      extensions.after = notice.cursor ?? extensions.after;
      wait = (notice.retryAfter ?? 1) * 1_000;
      return true;
    }
    function begin() {
      wait = undefined;
      stop = client.subscribe(
        { ...payload, extensions },
        {
          next(message) {
            if (!message.data && movesOn(message.errors)) {
              stop();
              return again();
            }
            sink.next(message);
            extensions.after = message.extensions?.cursor ?? extensions.after;
          },
          error: (problem) => (movesOn(problem) ? again() : sink.error(problem)),
          complete: () => (wait === undefined ? sink.complete() : again()),
        },
      );
    }
    function again() {
      clearTimeout(timer);
      timer = setTimeout(begin, wait);
    }
    begin();
    return () => {
      clearTimeout(timer);
      stop();
    };
  }
  return { ...client, subscribe };
}
