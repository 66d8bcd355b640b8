import { repositoryUrlKey } from './repository-url.ts';

test.each([
  ['https://github.com/shop/web.git', 'github.com/shop/web'],
  ['https://user@GitHub.com:8443/shop/web/', 'github.com/shop/web'],
  ['ssh://git@github.com:22/shop/web.git', 'github.com/shop/web'],
  ['git@github.com:shop/web.git', 'github.com/shop/web'],
  ['https://example.com/a%20b.git', 'example.com/a b'],
])('%s is the repository %s', (address, key) => {
  expect(repositoryUrlKey(address)).toBe(key);
});

test.each(['', '/', 'web', 'https://example.com/', 'https://example.com/%zz', 'https://example.com/%ff'])(
  '%j is no repository',
  (address) => {
    expect(repositoryUrlKey(address)).toBeUndefined();
  },
);
