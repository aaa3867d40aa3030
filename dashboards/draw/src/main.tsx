import { GlobalStyles, ThemeContext } from '@grafana/ui';
import { config } from '@grafana/runtime';
import { createRoot } from 'react-dom/client';
import { MemoryRouter } from 'react-router-dom';

import { note, notes } from './notes';
import { Board, sceneOf } from './scene';
import { setUp } from './setup';

async function main(): Promise<void> {
  const asked = new URLSearchParams(location.search);
  await setUp();
  const board: Board = await (await fetch(`/boards/${asked.get('board')}.json`)).json();
  const scene = sceneOf(board, asked.get('from')!, asked.get('to')!);
  createRoot(document.getElementById('root')!).render(
    <ThemeContext.Provider value={config.theme2}>
      <GlobalStyles />
      <MemoryRouter>
          <h2 style={{ padding: '16px 16px 0' }}>{board.title}</h2>
          <scene.Component model={scene} />
      </MemoryRouter>
    </ThemeContext.Provider>
  );
  notes.boards.push(board.uid);
}

main().catch((fault) => note(`start: ${fault?.stack ?? fault}`));
