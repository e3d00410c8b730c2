using Saturn.Engine;

namespace Saturn.Training.Data;

/// <summary>
/// The batches of one epoch, assembled ahead by a thread of their own into a ring of host buffers. Which batch comes when does not depend on timing, and the last
/// partial batch is dropped. Nothing is allocated a batch.
/// </summary>
public sealed class TrainingBatches : IDisposable
{
    private const int RingSize = 3;

    private readonly ImageDataset dataset;
    private readonly BatchAssembler assembler;
    private readonly int batch;
    private readonly bool augment;
    private readonly ulong seed;
    private readonly int epoch;
    private readonly int[] order;
    private readonly float[][] images = new float[RingSize][];
    private readonly int[][] labels = new int[RingSize][];
    private readonly SemaphoreSlim filled = new(0);
    private readonly SemaphoreSlim free = new(RingSize);
    private readonly Thread thread;
    private readonly int firstBatch;
    private volatile bool stopping;
    private volatile Exception? failure;
    private int next;

    /// <summary>Opens an epoch.</summary>
    /// <param name="dataset">The training images.</param>
    /// <param name="assembler">Its assembler.</param>
    /// <param name="batch">Images a batch.</param>
    /// <param name="epoch">The epoch, from 0.</param>
    /// <param name="firstBatch">The batch to begin with, as after a resume.</param>
    /// <param name="seed">The run's seed.</param>
    /// <param name="augment">Whether images are cropped and flipped.</param>
    public TrainingBatches(ImageDataset dataset, BatchAssembler assembler, int batch, int epoch, int firstBatch, ulong seed, bool augment)
    {
        this.dataset = dataset;
        this.assembler = assembler;
        this.batch = batch;
        this.epoch = epoch;
        this.firstBatch = firstBatch;
        this.seed = seed;
        this.augment = augment;
        Count = dataset.Count / batch;
        order = EpochOrder.Of(dataset.Count, seed, epoch);
        next = firstBatch;
        for (int i = 0; i < RingSize; i++)
        {
            images[i] = new float[batch * assembler.ImageFloats];
            labels[i] = new int[batch];
        }

        thread = new Thread(Fill) { IsBackground = true, Name = "Saturn batches" };
        thread.Start();
    }

    /// <summary>Batches of the epoch.</summary>
    public int Count { get; }

    /// <summary>Copies the next batch to tensors [batch, height, width, channels] and [batch].</summary>
    /// <exception cref="InvalidOperationException">The epoch is over.</exception>
    public void Next(Tensor x, Tensor y)
    {
        if (next >= Count)
        {
            throw new InvalidOperationException($"The epoch's {Count} batches have all been taken.");
        }

        filled.Wait();
        if (failure is not null)
        {
            throw new InvalidOperationException("Assembling a batch failed: " + failure.Message, failure);
        }

        int slot = next++ % RingSize;
        x.CopyFromStored<float>(images[slot]);
        y.CopyFromStored<int>(labels[slot]);
        free.Release();
    }

    /// <summary>Stops the thread.</summary>
    public void Dispose()
    {
        stopping = true;
        free.Release();
        thread.Join();
        filled.Dispose();
        free.Dispose();
    }

    private void Fill()
    {
        try
        {
            for (int b = firstBatch; b < Count; b++)
            {
                free.Wait();
                if (stopping)
                {
                    return;
                }

                int slot = b % RingSize;
                for (int i = 0; i < batch; i++)
                {
                    int image = order[b * batch + i];
                    Span<float> destination = images[slot].AsSpan(i * assembler.ImageFloats, assembler.ImageFloats);
                    if (augment)
                    {
                        assembler.WriteAugmented(image, seed, epoch, destination);
                    }
                    else
                    {
                        assembler.Write(image, destination);
                    }

                    labels[slot][i] = dataset.Labels[image];
                }

                filled.Release();
            }
        }
        catch (Exception exception)
        {
            failure = exception;
            filled.Release();
        }
    }
}
