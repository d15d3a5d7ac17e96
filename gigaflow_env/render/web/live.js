// The line to the server of a live world.

function connect(head, { moment, seen, state, failed, lost }) {
  const token = new URLSearchParams(location.search).get("token") ?? "";
  const socket = new WebSocket(`ws://${location.host}/live?token=${encodeURIComponent(token)}`);
  let open = false;
  const waiting = [];
  socket.onopen = () => {
    open = true;
    for (const text of waiting.splice(0)) socket.send(text);
  };
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.kind === "moment") moment(message);
    else if (message.kind === "seen") seen(message);
    else if (message.kind === "state") state(message);
    else if (message.kind === "error") failed(message.text);
  };
  socket.onclose = () => {
    open = false;
    lost();
  };
  return (name, more = {}) => {
    const text = JSON.stringify({ do: name, ...more });
    if (open) socket.send(text);
    else if (socket.readyState === WebSocket.CONNECTING) waiting.push(text);
  };
}
