import { Component, type ReactNode, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app";
import "./style.css";

/** What is left when the page itself fails: words, and a way on. */
class Whole extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError(): { failed: boolean } {
    return { failed: true };
  }

  override render(): ReactNode {
    if (!this.state.failed) return this.props.children;
    return (
      <p className="broken" role="alert">
        The page failed. Your conversation is kept.{" "}
        <button type="button" className="quiet" onClick={() => location.reload()}>
          Reload
        </button>
      </p>
    );
  }
}

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <Whole>
        <App />
      </Whole>
    </StrictMode>,
  );
}
