"""Secrets are made and die in many threads while others write log lines."""

from concurrent.futures import ThreadPoolExecutor

from rotator.domain.secret import SecretValue, secrets_in_memory


def test_the_list_of_living_secrets_can_be_read_while_others_come_and_go():
    def make(number):
        return [SecretValue(f"secret {number} {i}") for i in range(2000)][-1].reveal()

    kept = SecretValue("kept")
    with ThreadPoolExecutor(4) as pool:
        makers = [pool.submit(make, number) for number in range(3)]
        while not all(maker.done() for maker in makers):
            assert kept.reveal() in secrets_in_memory()
    assert [maker.result() for maker in makers] == [f"secret {number} 1999" for number in range(3)]
