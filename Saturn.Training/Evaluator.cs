using Saturn.Engine;
using Saturn.Engine.Operations;
using Saturn.Kernels;
using Saturn.Layers.Models;
using Saturn.Training.Data;

namespace Saturn.Training;

/// <summary>Runs images through a network in evaluation mode.</summary>
public static class Evaluator
{
    /// <summary>Share of correct answers and mean loss over a data set; the last batch may be smaller.</summary>
    public static (double Accuracy, double Loss) Evaluate(Model model, ImageDataset dataset, int batch)
    {
        int[] all = [.. Enumerable.Range(0, dataset.Count)];
        double loss = 0;
        long correct = 0;
        bool training = model.IsTraining;
        model.SetTraining(false);
        using LossRing ring = new(model.Device, 1);
        using (InferenceScope inference = new())
        {
            ForEachBatch(model.Device, dataset, all, batch, (images, labels) =>
            {
                ring.Keep(0, Operation.SoftmaxCrossEntropy(model.Forward(images), labels, 0, ring.Correct(0)));
                ring.EndStep();
                var (_, sum, right, _) = ring.Drain();
                loss += sum * images.Shape[0];
                correct += right;
            });
        }

        model.SetTraining(training);
        return ((double)correct / dataset.Count, loss / dataset.Count);
    }

    /// <summary>Calls back with batches of unaugmented images in a given order, each in a scope of its own.</summary>
    public static void ForEachBatch(Device device, ImageDataset dataset, ReadOnlySpan<int> images, int batch, Action<Tensor, Tensor> visit)
    {
        BatchAssembler assembler = new(dataset);
        float[] pixels = new float[Math.Min(batch, images.Length) * assembler.ImageFloats];
        int[] labels = new int[Math.Min(batch, images.Length)];
        for (int first = 0; first < images.Length; first += batch)
        {
            int count = Math.Min(batch, images.Length - first);
            for (int i = 0; i < count; i++)
            {
                assembler.Write(images[first + i], pixels.AsSpan(i * assembler.ImageFloats, assembler.ImageFloats));
                labels[i] = dataset.Labels[images[first + i]];
            }

            using TensorScope scope = new();
            Tensor x = Tensor.Allocate(device, new Shape(count, dataset.Height, dataset.Width, dataset.Channels));
            x.CopyFromStored<float>(pixels.AsSpan(0, count * assembler.ImageFloats));
            Tensor y = Tensor.Allocate(device, new Shape(count), ElementType.Int32);
            y.CopyFromStored<int>(labels.AsSpan(0, count));
            visit(x, y);
        }
    }
}
