// Starts `pointsman lsp` and lets VS Code talk to it; everything else is the server's.
"use strict";

const { window, workspace } = require("vscode");
const { LanguageClient, TransportKind } = require("vscode-languageclient/node");

let client;

async function activate(context) {
  const command = workspace.getConfiguration("pointsman").get("command", "pointsman");
  const run = { command, args: ["lsp"], transport: TransportKind.stdio };
  client = new LanguageClient(
    "pointsman",
    "Pointsman",
    { run, debug: run },
    {
      documentSelector: [{ language: "route" }],
      synchronize: { fileEvents: workspace.createFileSystemWatcher("**/*.route") },
    },
  );
  context.subscriptions.push(client);
  try {
    await client.start();
  } catch (error) {
    window.showErrorMessage(
      `\`${command} lsp\` does not start (${error.message}). Install it with: pip install 'pointsman[lsp]', ` +
        "or say in the setting pointsman.command where it is.",
    );
  }
}

function deactivate() {
  return client && client.isRunning() ? client.stop() : undefined;
}

module.exports = { activate, deactivate };
