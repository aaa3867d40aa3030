import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// `draw.mjs` serves what is built, with Prometheus behind /prom and the boards behind /boards.
export default defineConfig({
  plugins: [react()],
  // @grafana/ui imports the bridge to version 5 of the router, which needs a hook that is gone.
  resolve: { alias: { 'react-router-dom-v5-compat': 'react-router-dom' } },
  define: { 'process.env.NODE_ENV': '"production"', 'process.env': '{}', global: 'window' },
  // Read once, from this machine: small is of no use, and takes half of the time.
  build: { minify: false, reportCompressedSize: false, chunkSizeWarningLimit: 20_000 },
});
