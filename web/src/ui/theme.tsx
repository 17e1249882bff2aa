// Light or dark: as the system has it, until one is chosen.
import { useState } from 'preact/hooks'

type Theme = 'auto' | 'light' | 'dark'
const KEY = 'gwa-theme'
const NEXT: Record<Theme, Theme> = { auto: 'light', light: 'dark', dark: 'auto' }

function chosen(): Theme {
  try {
    const kept = localStorage.getItem(KEY)
    return kept === 'light' || kept === 'dark' ? kept : 'auto'
  } catch {
    return 'auto'
  }
}

function apply(theme: Theme): void {
  if (theme === 'auto') delete document.documentElement.dataset['theme']
  else document.documentElement.dataset['theme'] = theme
}

/** Applies what was chosen before. */
export const startTheme = (): void => apply(chosen())

export function ThemeSwitch() {
  const [theme, setTheme] = useState(chosen)
  const change = () => {
    const next = NEXT[theme]
    setTheme(next)
    apply(next)
    try {
      localStorage.setItem(KEY, next)
    } catch {
      // A browser that keeps nothing: the choice lasts as long as the page.
    }
  }
  return (
    <button type="button" class="theme" onClick={change} aria-label={`Colours: ${theme}. Change to ${NEXT[theme]}`}>
      {theme === 'auto' ? '◐' : theme === 'light' ? '☀' : '☾'} <span>{theme}</span>
    </button>
  )
}
