using Saturn.Engine;
using Saturn.Kernels;

namespace Saturn.Training.Data;

/// <summary>The batches of a run's steps as tensors that stay where they are, so that a recorded step can read them: one pair for each batch of a step.</summary>
internal sealed class TrainingInput : IDisposable
{
    private readonly ImageDataset dataset;
    private readonly BatchAssembler assembler;
    private readonly int batch;
    private readonly ulong seed;
    private readonly bool augment;
    private readonly Tensor[] images;
    private readonly Tensor[] labels;
    private TrainingBatches? batches;

    /// <summary>Allocates the tensors.</summary>
    /// <param name="device">Where the steps run.</param>
    /// <param name="dataset">The training images.</param>
    /// <param name="batch">Images a batch.</param>
    /// <param name="batchesPerStep">Batches a step.</param>
    /// <param name="seed">The run's seed.</param>
    /// <param name="augment">Whether images are cropped and flipped.</param>
    public TrainingInput(Device device, ImageDataset dataset, int batch, int batchesPerStep, ulong seed, bool augment)
    {
        this.dataset = dataset;
        this.batch = batch;
        this.seed = seed;
        this.augment = augment;
        assembler = new BatchAssembler(dataset);
        images = new Tensor[batchesPerStep];
        labels = new Tensor[batchesPerStep];
        for (int i = 0; i < batchesPerStep; i++)
        {
            images[i] = Tensor.AllocateUnscoped(device, new Shape(batch, dataset.Height, dataset.Width, dataset.Channels));
            labels[i] = Tensor.AllocateUnscoped(device, new Shape(batch), ElementType.Int32);
        }
    }

    /// <summary>Opens an epoch.</summary>
    /// <param name="epoch">The epoch, from 0.</param>
    /// <param name="firstBatch">The batch to begin with, as after a resume.</param>
    public void BeginEpoch(int epoch, int firstBatch)
    {
        EndEpoch();
        batches = new TrainingBatches(dataset, assembler, batch, epoch, firstBatch, seed, augment);
    }

    /// <summary>Fetches the batches of the next step.</summary>
    public void BeginStep()
    {
        for (int i = 0; i < images.Length; i++)
        {
            batches!.Next(images[i], labels[i]);
        }
    }

    /// <summary>A batch of the step: [batch, height, width, channels] and [batch].</summary>
    public (Tensor Images, Tensor Labels) Batch(int index) => (images[index], labels[index]);

    /// <summary>Ends what the epoch runs in the background.</summary>
    public void EndEpoch()
    {
        batches?.Dispose();
        batches = null;
    }

    /// <summary>Frees the tensors.</summary>
    public void Dispose()
    {
        EndEpoch();
        for (int i = 0; i < images.Length; i++)
        {
            images[i].Dispose();
            labels[i].Dispose();
        }
    }
}
