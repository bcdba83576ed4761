"""What a model is offered over MCP: tools, resources and prompts, in words and in data. `bridge.tools` makes them one
server.

The words carry the citations too: not every host shows a model the structured content. Text out of files stands
behind "> " on every line, so that no file can speak in our voice.
"""
